"""Text that arrives in parts of any size, regrouped into what can be read already: sentences, or smaller settled parts.

A whole text is one part, so that text gives the same sentences however it arrives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from mamtra.errors import MamTraError
from mamtra.text.sentence_ends import LONGEST_SENTENCE, find_end

_PLAIN = r"[a-z]{2,}"
_BETWEEN_WORDS = re.compile(rf"(?<!\S)(?=({_PLAIN}[,;:]?)\s+{_PLAIN}[,;:]?\s)")
_AFTER_CLAUSE = re.compile(r"[，、；：](?=\w)")


def sentences(parts: Iterable[str]) -> Iterator[str]:
    """Sentences, each as soon as its end is certain, with the white space before it. Joined they are the text.

    Args:
        parts: text in parts of any size, such as the output of a language model.

    Raises:
        MamTraError: a part is not a string.
    """
    waiting, column, start = "", 0, 0
    for block, final in _blocks(parts):
        waiting += block
        while waiting:
            end, start = find_end(waiting, column, start, final=final)
            if not end and not final:
                break
            sentence, waiting = waiting[: end or None], waiting[end:] if end else ""
            yield sentence
            column = _column(sentence, column)


class Part(NamedTuple):
    """Text that can be read on its own, whatever follows.

    Attributes:
        text: it, with the white space around it.
        ends: whether a sentence ends with it.
    """

    text: str
    ends: bool


def settled_parts(parts: Iterable[str]) -> Iterator[Part]:
    """Regroup arriving text: each item ends where reading it aloud does not depend on what follows.

    That is between two plain lower-case words (a number, a name or an abbreviation may belong to its neighbours, as in
    "May 5, 2024"), after a clause in scripts that have no spaces, and at the end of a sentence. A word counts once white space
    follows it. The texts joined are what came in.
    """
    waiting, column, start, given = "", 0, 0, 0  # `given`: characters of `waiting` that were yielded already
    for block, final in _blocks(parts):
        waiting += block
        while waiting:
            end, start = find_end(waiting, column, start, final=final)
            rest = waiting[end:].lstrip() if end else ""
            if not rest:
                start = 0 if end else start
                break
            end = len(waiting) - len(rest)
            *words, last = _by_words(waiting[given:end])
            yield from (Part(word, False) for word in words)
            yield Part(last, True)
            column = _column(waiting[:end], column)
            waiting, given = rest, 0
        *words, last = _by_words(waiting[given:])
        yield from (Part(word, False) for word in words)
        given = len(waiting) - len(last)
    if waiting[given:]:
        yield Part(waiting[given:], True)


def _by_words(text: str) -> list[str]:
    """The text cut wherever it may be within a sentence; at every such place, so that it matters little how it came in."""
    places = {m.end(1) for m in _BETWEEN_WORDS.finditer(text)} | {m.end() for m in _AFTER_CLAUSE.finditer(text)}
    places = [0, *sorted(places), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


def _blocks(parts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """The text in blocks of bounded size, and whether it is complete, which an empty block at the end tells."""
    for part in parts:
        if not isinstance(part, str):
            raise MamTraError(f"Text has to come as strings, not as {type(part).__name__}.")
        for begin in range(0, len(part), LONGEST_SENTENCE):
            yield part[begin : begin + LONGEST_SENTENCE], False
    yield "", True


def _column(text: str, before: int) -> int:
    """Characters after the last line break."""
    return len(text) - text.rfind("\n") - 1 if "\n" in text else before + len(text)
