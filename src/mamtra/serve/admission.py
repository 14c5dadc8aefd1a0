"""How many texts are spoken at once, and who waits: a bounded queue, first come first served, within a budget of memory."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from typing import NamedTuple

from mamtra.serve.errors import ApiError
from mamtra.serve.keys import Key
from mamtra.serve.settings import ServeSettings


class _Waiting(NamedTuple):
    """A request in the queue: its turn, and the bytes that it needs."""

    turn: asyncio.Future[None]
    need: int


class Admission:
    """Slots of speech; belongs to one event loop.

    Args:
        streams: texts that are spoken side by side.
        waiting: requests that may wait.
        patience: seconds that a request waits at most.

    Attributes:
        budget: bytes that the texts being spoken may take together; None for no limit. One text is spoken in any case.
        busy: texts that are being spoken.
        held: bytes that they may take.
    """

    def __init__(self, streams: int, waiting: int, patience: float) -> None:
        self.streams, self.most_waiting, self.patience = streams, waiting, patience
        self.draining = False
        self.budget: int | None = None
        self.busy = self.held = 0
        self._queue: deque[_Waiting] = deque()
        self._of_key: Counter[str] = Counter()
        self._typical = 2.0  # seconds that a text holds its slot, smoothed

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._queue)

    def load(self) -> dict[str, float]:
        """What is asked for as a multiple of what fits: texts, and bytes of the budget; what waits counts too."""
        needed = self.held + sum(waiting.need for waiting in self._queue)
        texts = (self.busy + self.waiting) / self.streams
        return {"texts": texts, "bytes": needed / self.budget if self.budget else 0.0}

    async def enter(self, key: Key | None, need: int = 0) -> Ticket:
        """Take a slot, or wait for one.

        Args:
            key: whose share it counts to.
            need: bytes that the text takes at most.

        Raises:
            ApiError: 503 where too many wait, the wait was too long or the server is stopping; 429 where a key has its share.
        """
        if self.draining:
            raise stopping()
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
            await self._take(need)
        except BaseException:
            self._of_key[name] -= 1
            raise
        return Ticket(self, name, need)

    def fitting(self, need: int) -> int:
        """Texts that may be spoken at once, if each takes so many bytes."""
        if self.budget is None or not need:
            return self.streams
        return max(1, min(self.streams, self.budget // need))

    async def _take(self, need: int) -> None:
        if not self._queue and self._fits(need):
            self._hold(1, need)
            return
        if len(self._queue) >= self.most_waiting:
            raise self._overloaded("Too many requests are waiting", need)
        waiting = _Waiting(asyncio.get_running_loop().create_future(), need)
        self._queue.append(waiting)
        try:
            await asyncio.wait({waiting.turn}, timeout=self.patience)
        except asyncio.CancelledError:
            if waiting.turn.done():  # the slot came at the moment that nobody wanted it any more
                self._hold(-1, -need)
            raise
        finally:
            if waiting in self._queue:
                self._queue.remove(waiting)
            self._call_next()
        if not waiting.turn.done():
            raise self._overloaded(f"No turn came within {self.patience:g} s", need)

    def _fits(self, need: int) -> bool:
        enough = self.budget is None or self.held + need <= self.budget
        return self.busy == 0 or (self.busy < self.streams and enough)

    def _hold(self, texts: int, size: int) -> None:
        self.busy, self.held = self.busy + texts, self.held + size

    def _call_next(self) -> None:
        """Give slots to those who have waited longest; nobody overtakes one whose text does not fit yet."""
        while self._queue and self._fits(self._queue[0].need):
            waiting = self._queue.popleft()
            if not waiting.turn.done():
                self._hold(1, waiting.need)
                waiting.turn.set_result(None)

    def _overloaded(self, what: str, need: int) -> ApiError:
        fit = self.fitting(need)
        if fit < self.streams:
            texts = "text fits" if fit == 1 else "texts fit"
            what += f", and {fit} {texts} into the {self.budget / 1e9:.3g} GB for speech at a time"
        later = _later(min(60, (len(self._queue) + 1) / fit * self._typical))
        return ApiError(503, f"{what}; try again later.", code="overloaded", headers=later)

    def leave(self, name: str, need: int, held: float) -> None:
        """Give a slot and its bytes back, which were held for so many seconds."""
        self._of_key[name] -= 1
        self._typical += 0.1 * (held - self._typical)
        self._hold(-1, -need)
        self._call_next()


class Ticket:
    """A slot that is held; give it back once."""

    def __init__(self, admission: Admission, name: str, need: int) -> None:
        self._admission: Admission | None = admission
        self._name, self._need, self._since = name, need, time.monotonic()

    def leave(self) -> None:
        """Give the slot back; only the first call counts."""
        if self._admission is not None:
            self._admission.leave(self._name, self._need, time.monotonic() - self._since)
            self._admission = None


def admission_of(settings: ServeSettings) -> Admission:
    """By the settings of a server."""
    made = Admission(settings.streams, settings.waiting, settings.first_audio_seconds)
    made.budget = settings.most_memory
    return made


def stopping() -> ApiError:
    """The answer of a server that was told to end."""
    return ApiError(503, "The server is stopping; try again in a moment.", code="stopping", headers=_later(5))


def _later(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
