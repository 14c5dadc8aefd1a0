"""Which streams compute a hop now: those whose listeners wait, and others when it hardly costs those anything.

A hop slows down the steps of the language model beside it to half their speed, and who waits for the first audio waits for both.
So while somebody does, streams whose listeners have audio in hand let a few hops come together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

SOON = 0.3
"""Seconds of audio in hand below which a stream waits for nobody."""
HELD = 0.25
"""Seconds that a hop is held back at most."""
RIDES, ALONG = 0.05, 8
"""Seconds after which a hop that is held back joins those of others, up to so many rows: they take hardly longer than one row."""


class Ready(Protocol):
    """A stream that has tokens for a hop."""

    @property
    def since(self) -> float:
        """When it had them."""

    def slack(self, now: float, rate: int) -> float:
        """Seconds until its listener has heard everything."""


class Chosen(NamedTuple):
    """What is computed now.

    Attributes:
        streams: the most urgent first.
        again: seconds after which the others will have waited long enough; None where nothing is held back.
    """

    streams: list[Ready]
    again: float | None = None


def choose(ready: Iterable[Ready], now: float, rate: int, most: int, *, somebody_waits: bool) -> Chosen:
    """Streams of the next hop.

    Args:
        ready: streams that have tokens for one.
        now: the time.
        rate: of the samples, Hz.
        most: rows of a hop.
        somebody_waits: for the first audio of a stream.
    """
    urgent, held, again = list[tuple[float, int, Ready]](), list[Ready](), list[float]()
    for number, stream in enumerate(ready):
        slack = stream.slack(now, rate)
        left = min(slack - SOON, HELD - (now - stream.since))
        if somebody_waits and left > 0:
            held.append(stream)
            again.append(left)
        else:
            urgent.append((slack, number, stream))
    streams = [stream for *_, stream in heapq.nsmallest(most, urgent)]
    if not streams:
        return Chosen([], min(again, default=None))
    return Chosen([*streams, *_along(held, now, min(most, ALONG) - len(streams))])


def _along(held: Sequence[Ready], now: float, places: int) -> list[Ready]:
    """Those that have waited longest, and for a while."""
    waited = sorted((stream for stream in held if now - stream.since >= RIDES), key=lambda stream: stream.since)
    return waited[: max(0, places)]
