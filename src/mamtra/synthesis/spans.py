"""Which words a sound says, and when: the sound of a text in parts, each with the text that begins in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from mamtra.synthesis.word_times import WORDS, Weight, Word

_REACH = 3
"""Text ids that a word is moved by at most, where numbers and signs are read as several words."""
_STEP = 1e-9
"""Text ids, so that places ascend."""


class Span(NamedTuple):
    """A part of a sound.

    Attributes:
        written: the text that begins with it, as it was written; empty where it goes on with the text of the part before.
        start: seconds.
        seconds: its duration.
        pause: seconds of silence at its beginning.
        ids: text ids of the segment that begins with it; none where a segment goes on.
        curve: where in the text the sound of its segment is up to its end, where that is known: (2, n) seconds since `start`,
            ascending, and the text ids of the segment read by then.
    """

    written: str
    start: float
    seconds: float
    pause: float = 0.0
    ids: Sequence[int] = ()
    curve: np.ndarray | None = None

    @property
    def end(self) -> float:
        """Seconds."""
        return self.start + self.seconds


def moved(spans: Iterable[Span], seconds: float) -> Iterator[Span]:
    """The same parts so much later."""
    return (span._replace(start=span.start + seconds) for span in spans)


def words_of(spans: Iterable[Span], weight: Weight, space: int | None = None) -> list[Word]:
    """The words of a sound with their times.

    The words of a sentence are as far apart as their weights say: in text ids along the curves of its parts where they are known,
    else in time.

    Args:
        spans: of the sound, in order.
        weight: how long a word takes in comparison to others, see `mamtra.synthesis.word_times.phoneme_weights`.
        space: text id between words, see `mamtra.synthesis.word_times.space_of`; where it is known, words begin after one.
    """
    return [word for unit in _units(spans) for word in _placed(unit, weight, space)]


def _units(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Parts that belong together: the first one has text."""
    unit: list[Span] = []
    for span in spans:
        if span.written and unit:
            yield unit
            unit = []
        if span.written or unit:
            unit.append(span)
    if unit:
        yield unit


def _placed(unit: Sequence[Span], weight: Weight, space: int | None) -> list[Word]:
    words = WORDS.findall(unit[0].written)
    moments, _ = moments_of(unit, list(map(weight, words)), space)
    return [Word(word, start, stop) for word, (start, stop) in zip(words, pairwise(moments), strict=True)]


def moments_of(unit: Sequence[Span], weights: Sequence[float], space: int | None) -> tuple[list[float], int]:
    """When words begin, and when the last one ends.

    Args:
        unit: parts of a sound that belong together, the first of which begins with the words.
        weights: how long each word takes in comparison to others.
        space: see `words_of`.

    Returns:
        Seconds, and how many of them are behind what was read by the end of the unit.
    """
    begin, end = unit[0].start + unit[0].pause, unit[-1].end
    times, places = _curve(unit, begin, end)
    ends = np.array([0.0, *accumulate(weights)])
    wanted = ends * count_ids(unit) / max(ends[-1], 1e-9)
    wanted[1:-1] = _at_words(wanted[1:-1], _word_starts(unit, space))
    wanted += len(places) * _STEP  # the end of where it stands still
    moments = np.interp(wanted, places, times).tolist()
    moments[0], moments[-1] = begin, end
    return moments, int((wanted < places[-1]).sum())


def count_ids(unit: Sequence[Span]) -> int:
    """Text ids of the segments that begin in a unit, at least one."""
    return max(1, sum(len(span.ids) for span in unit))


def is_followed(unit: Sequence[Span]) -> bool:
    """Whether it is known where in the text the unit is."""
    return all(segment[-1].curve is not None for segment in _segments(unit))


def _segments(unit: Sequence[Span]) -> list[list[Span]]:
    """Parts of each segment; the last one knows the way through the text best."""
    found: list[list[Span]] = []
    for span in unit:
        if span.ids or not found:
            found.append([])
        found[-1].append(span)
    return found


def _word_starts(unit: Sequence[Span], space: int | None) -> np.ndarray:
    """Text ids that are read before each word but the first one, as far as spaces tell."""
    ids = [each for span in unit for each in (*span.ids, *([space] if span.ids else []))]
    spaces = np.flatnonzero(np.array(ids) == space)[:-1] if space is not None else np.zeros(0, int)
    joins = np.cumsum([len(span.ids) + 1 for span in unit if span.ids])  # a space was put after each segment
    return spaces + 1 - np.searchsorted(joins, spaces + 1, side="right")


def _at_words(wanted: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Places of words moved to where words begin: one each where there are as many, else the nearest ones within reach."""
    if len(starts) == len(wanted) or not len(starts):
        return starts if len(starts) else wanted
    nearest = starts[np.abs(starts[None] - wanted[:, None]).argmin(1)]
    return np.where(np.abs(nearest - wanted) <= _REACH, nearest, wanted)


def _curve(unit: Sequence[Span], begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments in the sound, and how much of the text is read by then; both ascend, the latter strictly."""
    segments = _segments(unit)
    if not is_followed(unit):
        return np.array([begin, end]), np.array([0.0, float(count_ids(unit))])
    read = accumulate((len(segment[0].ids) for segment in segments), initial=0)
    times = np.concatenate([segment[-1].start + segment[-1].curve[0] for segment in segments])
    places = np.concatenate([before + segment[-1].curve[1] for segment, before in zip(segments, read, strict=False)])
    times, places = np.clip(np.maximum.accumulate(times), begin, end), np.maximum.accumulate(places)
    return times, places + _STEP * np.arange(len(places))
