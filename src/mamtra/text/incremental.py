"""Text that arrives bit by bit, cut into pieces that can be spoken already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

_END = re.compile(r"[.!?…][\"')\]”’]*\s+|[。！？]|\n\s*\n")
_ABBREVIATION = re.compile(r"(?:^|[\s(\"'“‘])(?:[A-Z][a-z]{0,3}|[A-Za-z](?:\.[A-Za-z])*|etc|vs|e\.g|i\.e)\.$")

_PLAIN = r"[a-z]{2,}"
_BETWEEN_WORDS = re.compile(rf"(?<!\S)(?=({_PLAIN}[,;:]?)\s+{_PLAIN}[,;:]?\s)")
_AFTER_CLAUSE = re.compile(r"[，、；：](?=\w)")


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

    Args:
        parts: bits of text of any size, such as the output of a language model.
    """
    waiting = ""
    for part in parts:
        waiting += part
        while cut := _first_end(waiting):
            *words, last = _by_words(waiting[:cut])
            yield from (Part(word, False) for word in words)
            yield Part(last, True)
            waiting = waiting[cut:]
        *words, waiting = _by_words(waiting)
        yield from (Part(word, False) for word in words)
    if waiting:
        yield Part(waiting, True)


def _by_words(text: str) -> list[str]:
    """The text cut wherever it may be within a sentence; at every such place, so that it matters little how it came in."""
    places = {m.end(1) for m in _BETWEEN_WORDS.finditer(text)} | {m.end() for m in _AFTER_CLAUSE.finditer(text)}
    places = [0, *sorted(places), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


def _first_end(text: str) -> int:
    """Where the first sentence ends that something follows; 0 if none does."""
    ends = (m.end() for m in _END.finditer(text) if not _ABBREVIATION.search(text[: m.start() + 1]))
    return next((end for end in ends if end < len(text)), 0)


def complete_sentences(parts: Iterable[str]) -> Iterator[str]:
    """Regroup arriving text: each item ends at the end of a sentence, except perhaps the last one.

    A full stop counts once white space follows it, so that "3.5" is never cut, and not after what looks like an
    abbreviation ("Dr.", "e.g."). The items joined are the text that came in.

    Args:
        parts: bits of text of any size, such as the output of a language model.
    """
    waiting = ""
    for part in parts:
        waiting += part
        cut = _last_end(waiting)
        if cut and waiting[:cut].strip():
            yield waiting[:cut]
            waiting = waiting[cut:]
    if waiting.strip():
        yield waiting


def _last_end(text: str) -> int:
    """Where the last complete sentence of `text` ends; 0 if none does."""
    ends = [m.end() for m in _END.finditer(text) if not _ABBREVIATION.search(text[: m.start() + 1])]
    return ends[-1] if ends else 0
