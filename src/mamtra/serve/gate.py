"""Whose chunk is computed next: the listener who would hear a gap soonest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

URGENT = 1.0
"""Seconds of audio in hand below which a listener comes before those who have heard nothing yet."""


class Playback:
    """A listener who began to play at the first audio, seen from the side that makes the audio.

    Attributes:
        seconds: of audio made.
        first_audio: seconds from the request to the first audio; None before.
        took: seconds from the request to the latest audio.
        underruns: times that the audio in hand had run out before more was made.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.asked = clock()
        self._ends: float | None = None
        self.first_audio: float | None = None
        self.seconds, self.took, self.underruns = 0.0, 0.0, 0

    def waited(self, seconds: float) -> None:
        """The listener's own text was missing for so long, which is no gap and no delay."""
        self.asked += seconds
        if self._ends is not None:
            self._ends += seconds

    @property
    def age(self) -> float:
        """Seconds since it was asked for."""
        return self._clock() - self.asked

    def made(self, seconds: float) -> None:
        """More audio is there."""
        if seconds <= 0:
            return
        now = self._clock()
        if self._ends is None:
            self.first_audio = now - self.asked
        elif now > self._ends:
            self.underruns += 1
        self._ends = (now if self._ends is None else max(self._ends, now)) + seconds
        self.seconds += seconds
        self.took = now - self.asked

    @property
    def urgency(self) -> tuple[int, float]:
        """Smaller is sooner: audio about to run out, then nothing heard yet, then much in hand."""
        if self._ends is None:
            return 1, self.asked
        in_hand = self._ends - self._clock()
        return (0 if in_hand < URGENT else 2), in_hand


class Gate:
    """Lets a few threads compute at once, the most urgent first.

    Args:
        width: how many.
    """

    def __init__(self, width: int) -> None:
        self._free = width
        self._changed = threading.Condition()
        self._waiting: list[Playback] = []

    @contextmanager
    def turn(self, playback: Playback) -> Iterator[None]:
        """Compute within; waits for its turn."""
        self._enter(playback)
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def aside(self, playback: Playback) -> Iterator[None]:
        """Within a turn: let others compute while the text is still to come."""
        self._leave()
        began = time.monotonic()
        try:
            yield
        finally:
            playback.waited(time.monotonic() - began)
            self._enter(playback)

    def _enter(self, playback: Playback) -> None:
        with self._changed:
            self._waiting.append(playback)
            while not (self._free and min(self._waiting, key=lambda each: each.urgency) is playback):
                self._changed.wait()
            self._waiting.remove(playback)
            self._free -= 1
            self._changed.notify_all()  # the next one may be free to go too

    def _leave(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()
