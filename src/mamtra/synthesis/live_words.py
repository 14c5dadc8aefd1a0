"""When each word is heard, told while its sentence is being spoken."""

from __future__ import annotations

from collections.abc import Sequence

from mamtra.synthesis.spans import Span, count_ids, is_followed, moments_of, moved
from mamtra.synthesis.word_times import WORDS, Weight, Word

_TYPICAL = 0.075
"""Seconds of a phoneme, until a sentence has told how fast the voice is."""
_COMPLETE = 0.75
"""Fraction of a sentence's weight from which on its text ids are all there: a long one is spoken in several segments."""

_EDGE = 1e-3
"""Seconds before the end of the sound, where all that comes later is placed."""


class WordTimes:
    """Follows the audio of a text chunk by chunk; a word is told once, and begins where the one before ends.

    Words are placed where the language model is in the text as far as that is known. Otherwise, while a sentence is not complete,
    they are placed as fast as the last sentences were, and what is left is fitted in at the sentence's end.

    Args:
        weight: see `mamtra.synthesis.word_times.phoneme_weights`.
        speed: of the speech.
        space: see `mamtra.synthesis.word_times.space_of`.

    Attributes:
        seconds: of audio so far.
    """

    def __init__(self, weight: Weight, speed: float = 1.0, space: int | None = None) -> None:
        self._weight, self._pace, self._space = weight, _TYPICAL / speed, space
        self.seconds = self._placed = 0.0
        # of the sentence: its words with their weights, how many of them were told, its first moment, and its parts
        self._words: list[str] = []
        self._weights: list[float] = []
        self._told, self._began = 0, 0.0
        self._unit: list[Span] = []

    def push(self, text: str, seconds: float, final: bool, spans: Sequence[Span] = ()) -> list[Word]:
        """More audio.

        Args:
            text: that begins with it.
            seconds: its duration.
            final: whether a sentence ends with it.
            spans: its parts.

        Returns:
            The words that are placed now.
        """
        if self._told == len(self._words):
            pause = min(seconds, spans[0].pause) if spans else 0.0
            self._began = self._placed = self.seconds + pause
            self._words, self._weights, self._told, self._unit = [], [], 0, []
        found = WORDS.findall(text)
        self._words += found
        self._weights += map(self._weight, found)
        self._unit += moved(spans, self.seconds)
        self.seconds += seconds
        if self._told == len(self._words):
            return []
        return self._by_reading(final) if self._follows() else self._by_pace(final)

    def end(self) -> list[Word]:
        """What is left when there is no more audio."""
        return self._by_pace(True) if self._told < len(self._words) else []

    def _follows(self) -> bool:
        """Whether it is known where in the sentence the sound is."""
        if not self._unit or not is_followed(self._unit):
            return False
        return count_ids(self._unit) >= _COMPLETE * sum(self._weights)

    def _by_reading(self, final: bool) -> list[Word]:
        moments, passed = moments_of(self._unit, self._weights, self._space)
        # the last word waits for the end of its sentence
        many = len(self._words) if final else min(passed, len(self._words)) - 1
        found = []
        # what the model has read beyond the sound is told when it is heard
        while self._told < many and (final or moments[self._told + 1] < self.seconds - _EDGE):
            found.append(self._place(moments[self._told + 1] - self._placed))
        return found

    def _by_pace(self, final: bool) -> list[Word]:
        found = []
        if not final:
            while self._told + 1 < len(self._words):
                seconds = self._weights[self._told] * self._pace
                if self._placed + seconds > self.seconds:
                    break
                found.append(self._place(seconds))
            return found
        left, room = sum(self._weights[self._told :]), max(0.0, self.seconds - self._placed)
        if self.seconds > self._began:
            self._pace = (self.seconds - self._began) / sum(self._weights)
        return [self._place(room * weight / left) for weight in self._weights[self._told :]]

    def _place(self, seconds: float) -> Word:
        """The next word, with so many seconds as far as there is audio."""
        start, self._placed = (
            self._placed,
            min(max(self._placed, self._placed + seconds), max(self._placed, self.seconds)),
        )
        self._told += 1
        return Word(self._words[self._told - 1], start, self._placed)
