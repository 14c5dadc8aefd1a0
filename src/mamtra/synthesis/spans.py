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
        curve: where in the text its sound is, where that is known: (2, n) seconds since `start`, ascending, and the text ids read
            by then.
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
    weights = [0.0, *accumulate(map(weight, words))]
    begin, end = unit[0].start + unit[0].pause, unit[-1].end
    times, places = _curve(unit, begin, end)
    wanted = np.array(weights) * places[-1] / max(weights[-1], 1e-9)
    wanted[1:-1] = _at_words(wanted[1:-1], _word_starts(unit, space))
    wanted += len(places) * _STEP  # the end of where it stands still
    moments = np.interp(wanted, places, times).tolist()
    moments[0], moments[-1] = begin, end
    return [Word(word, start, stop) for word, (start, stop) in zip(words, pairwise(moments), strict=True)]


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
    segments = [span for span in unit if span.ids]
    if not segments or any(span.curve is None for span in segments):
        return np.array([begin, end]), np.array([0.0, max(1.0, sum(len(span.ids) for span in segments))])
    read = accumulate((len(span.ids) for span in segments), initial=0)
    times = np.concatenate([span.start + span.curve[0] for span in segments])
    places = np.concatenate([before + span.curve[1] for span, before in zip(segments, read, strict=False)])
    times, places = np.clip(np.maximum.accumulate(times), begin, end), np.maximum.accumulate(places)
    return times, places + _STEP * np.arange(len(places))
