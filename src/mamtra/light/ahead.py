"""A run of the language model that goes on by itself, on a second core, once the first audio is out."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread, main_thread

import numpy as np

from mamtra.light.run import LightRun

MOST_AHEAD = 50
"""Tokens that nobody has asked for yet: two seconds, so that listeners of a server do not wait for what others hear much later."""
_PATIENCE = 0.5


class Ahead(Iterator[int]):
    """Tokens of a run whose text is complete, for one reader.

    Args:
        run: the run.
        alone: tokens that are computed when they are asked for, so that both cores make the first audio; those that follow are
            computed on a thread of their own.
    """

    def __init__(self, run: LightRun, alone: int) -> None:
        self._run, self._alone, self._given = run, alone, 0
        self._lock, self._going = Lock(), False
        self._room = Semaphore(MOST_AHEAD)
        self._made: SimpleQueue[int | BaseException | None] = SimpleQueue()

    def __next__(self) -> int:
        if self._given < self._alone:
            token: int | BaseException | None = next(self._run)
        else:
            if not self._going:
                self._going = True
                Thread(target=self._work, name="mamtra-lm").start()
            token = self._made.get()
            self._room.release()
        if not isinstance(token, int):
            self._made.put(token)
            raise StopIteration if token is None else token
        self._given += 1
        return token

    @property
    def finish_reason(self) -> str | None:
        """As of a `LightRun`, once all tokens were given."""
        return self._run.finish_reason

    def attention(self) -> np.ndarray | None:
        """As of a `LightRun`, of the tokens given so far."""
        with self._lock:
            found = self._run.attention()
        return None if found is None else found[: self._given]

    def expect(self, count: int) -> None:
        """As of a `LightRun`."""
        self._run.expect(count)

    def cancel(self) -> None:
        """End the run."""
        self._run.cancel()

    def _work(self) -> None:
        token: int | None = 0
        try:
            while token is not None:
                while not self._room.acquire(timeout=_PATIENCE):
                    if self._run.finish_reason is not None or not main_thread().is_alive():
                        return  # nobody reads any more
                with self._lock:
                    token = next(self._run, None)
                self._made.put(token)
        except BaseException as error:  # whoever reads is told
            self._made.put(error)
