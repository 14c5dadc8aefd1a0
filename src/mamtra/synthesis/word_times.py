"""When each word is heard: interpolated within a sentence by the phonemes of its words."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from mamtra.errors import MamTraError
from mamtra.text.frontend import TextFrontend
from mamtra.text.split import Splitter

WORDS = re.compile(r"\s*\S+\s*")
_TYPICAL = 0.075
"""Seconds of a phoneme, until a sentence has told how fast the voice is."""


Weight = Callable[[str], float]


class Word(NamedTuple):
    """A word and its time.

    Attributes:
        text: as it was written, with the white space around it: joined, words are the text.
        start: seconds since the first sample.
        end: seconds; the next word of the sentence begins there.
    """

    text: str
    start: float
    end: float


def phoneme_weights(front: Splitter) -> Weight:
    """How long a word takes in comparison to others: its phonemes, or its letters where the model reads letters."""
    if not isinstance(front, TextFrontend):
        return lambda word: len(word.strip()) + 1.0

    @lru_cache(4096)
    def weight(word: str) -> float:
        try:
            return 1.0 + sum(len(segment.ids) for segment in front.segments(word))
        except MamTraError:
            return 1.0  # punctuation alone

    return lambda word: weight(word.strip())


def space_of(front: Splitter) -> int | None:
    """The text id between two words, where a model reads phonemes."""
    return front.tokenizer.encode(" ")[0] if isinstance(front, TextFrontend) else None


class WordTimes:
    """Follows the audio of a text chunk by chunk.

    While a sentence is not complete its length is not known: words are placed as fast as the last sentences were, and what is
    left is fitted in at the sentence's end.

    Args:
        weight: see `phoneme_weights`.
        speed: of the speech.
    """

    def __init__(self, weight: Weight, speed: float = 1.0) -> None:
        self._weight, self._pace = weight, _TYPICAL / speed
        self._waiting: deque[tuple[str, float]] = deque()
        self._now = self._placed = 0.0
        self._began, self._sum = 0.0, 0.0  # of the sentence: its first moment, and the weight of its words

    def push(self, text: str, seconds: float, final: bool) -> list[Word]:
        """More audio.

        Args:
            text: that begins with it.
            seconds: its duration.
            final: whether a sentence ends with it.

        Returns:
            The words that are placed now.
        """
        if not self._waiting:
            self._began = self._placed = self._now
            self._sum = 0.0
        for word in WORDS.findall(text):
            weight = self._weight(word)
            self._sum += weight
            self._waiting.append((word, weight))
        self._now += seconds
        if final:
            return self._place_all()
        found = []
        # the last word waits for the end of its sentence, wherever that is
        while len(self._waiting) > 1 and self._placed + self._waiting[0][1] * self._pace <= self._now:
            found.append(self._place(self._waiting[0][1] * self._pace))
        return found

    def end(self) -> list[Word]:
        """What is left when there is no more audio."""
        return self._place_all()

    def _place_all(self) -> list[Word]:
        if not self._waiting:
            return []
        left, room = sum(weight for _, weight in self._waiting), max(0.0, self._now - self._placed)
        if self._sum and self._now > self._began:
            self._pace = (self._now - self._began) / self._sum
        return [self._place(room * self._waiting[0][1] / left) for _ in range(len(self._waiting))]

    def _place(self, seconds: float) -> Word:
        word, _ = self._waiting.popleft()
        start, self._placed = self._placed, self._placed + seconds
        return Word(word, start, self._placed)
