"""How many texts are spoken at once, and who waits: a bounded queue, first come first served."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque

from mamtra.serve.errors import ApiError
from mamtra.serve.keys import Key


class Admission:
    """Slots of speech; belongs to one event loop.

    Args:
        streams: texts that are spoken side by side.
        waiting: requests that may wait.
        patience: seconds that a request waits at most.
    """

    def __init__(self, streams: int, waiting: int, patience: float) -> None:
        self.streams, self.most_waiting, self.patience = streams, waiting, patience
        self.draining = False
        self.busy = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._of_key: Counter[str] = Counter()
        self._typical = 2.0  # seconds that a text holds its slot, smoothed

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._queue)

    async def enter(self, key: Key | None) -> Ticket:
        """Take a slot, or wait for one.

        Raises:
            ApiError: 503 where too many wait, the wait was too long or the server is stopping; 429 where a key has its share.
        """
        if self.draining:
            raise ApiError(503, "The server is stopping; try again in a moment.", code="stopping", headers=_later(5))
        name = key.name if key else ""
        if key is not None and key.streams is not None and self._of_key[name] >= key.streams:
            raise ApiError(
                429,
                f"This key may have {key.streams} texts spoken at once.",
                code="too_many_streams",
                headers=_later(1),
            )
        self._of_key[name] += 1
        try:
            await self._take()
        except BaseException:
            self._of_key[name] -= 1
            raise
        return Ticket(self, name)

    async def _take(self) -> None:
        if self.busy < self.streams and not self._queue:
            self.busy += 1
            return
        if len(self._queue) >= self.most_waiting:
            raise self._overloaded("Too many requests are waiting")
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(slot)
        try:
            await asyncio.wait({slot}, timeout=self.patience)
        except asyncio.CancelledError:
            if slot.done():  # the slot came at the moment that nobody wanted it any more
                self._pass_on()
            raise
        finally:
            if slot in self._queue:
                self._queue.remove(slot)
        if not slot.done():
            raise self._overloaded(f"No turn came within {self.patience:g} s")

    def _overloaded(self, what: str) -> ApiError:
        rounds = (len(self._queue) + 1) / self.streams
        return ApiError(
            503, f"{what}; try again later.", code="overloaded", headers=_later(min(60, rounds * self._typical))
        )

    def _pass_on(self) -> None:
        """Give a slot to the one who has waited longest, or free it."""
        while self._queue:
            slot = self._queue.popleft()
            if not slot.done():
                slot.set_result(None)
                return
        self.busy -= 1

    def leave(self, name: str, held: float) -> None:
        """Give a slot back, which was held for so many seconds."""
        self._of_key[name] -= 1
        self._typical += 0.1 * (held - self._typical)
        self._pass_on()


class Ticket:
    """A slot that is held; give it back once."""

    def __init__(self, admission: Admission, name: str) -> None:
        self._admission: Admission | None = admission
        self._name, self._since = name, time.monotonic()

    def leave(self) -> None:
        """Give the slot back; only the first call counts."""
        if self._admission is not None:
            self._admission.leave(self._name, time.monotonic() - self._since)
            self._admission = None


def _later(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
