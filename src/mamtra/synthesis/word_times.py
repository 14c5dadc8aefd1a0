"""Words with times, and how long a word takes in comparison to others."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from mamtra.errors import MamTraError
from mamtra.text.split import Splitter

WORDS = re.compile(r"\s*\S+\s*")

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
    if front.reads_letters:
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
    return None if front.reads_letters else front.tokenizer.encode(" ")[0]
