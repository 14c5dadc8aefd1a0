"""Text -> segments that are spoken in one run of the LM: sentences, or pieces of long ones, with ids and the pause before each."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mamtra.errors import MamTraError
from mamtra.text.incremental import sentences
from mamtra.text.markup import Pause, parse_markup

SENTENCE_PAUSE = 0.25
PARAGRAPH_PAUSE = 0.6
CLAUSE_PAUSE = 0.1
CLOSED = ".?!;:。？！；：\"”'"
"""What may end a text that is spoken on its own."""

_CONJUNCTIONS = r"\s(?=(?:and|but|or|because|which|that|who|while|when|if)\s)"
_CUTS = [re.compile(p) for p in (r"(?<=[;:])\s", r"(?<=—)(?=\w)", r"(?<=,)\s", _CONJUNCTIONS, r"\s")]
_CLAUSE = re.compile(r"[^.?!;:。？！；：]*[.?!;:。？！；：]+[\"”']*\s*|[^.?!;:。？！；：]+$")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


@dataclass(frozen=True)
class Segment:
    """Text to be spoken in one run of the LM.

    Attributes:
        text: normalised words and punctuation.
        ids: text ids that the LM reads.
        pause_before: silence before it, in seconds.
        written: the text as it was written, up to the next segment that has some: a sentence, or several, with the white space
            around them and what in them is silent; empty where the segment goes on with the text of the one before.
        pause_asked: what of it the text asks for with a `[pause:...]` mark.
    """

    text: str
    ids: list[int]
    pause_before: float = 0.0
    written: str = ""
    pause_asked: float = 0.0


class Reading(NamedTuple):
    """Normalised text as the LM reads it.

    Attributes:
        ids: text ids.
        ends: for each unit that counts for the length, where in the text it ends; ascending.
    """

    ids: list[int]
    ends: Sequence[int]


Piece = tuple[str, list[int]]
"""Normalised text and its ids."""


class Splitter(ABC):
    """What the text front ends share: from text, or text that is still arriving, to segments.

    Attributes:
        reads_letters: its ids are of subwords instead of phonemes.
    """

    reads_letters: ClassVar[bool] = False

    @abstractmethod
    def arriving(self, parts: Iterable[str]) -> Iterator[Segment]:
        """Segments of arriving text, sentence by sentence, each as soon as its end is certain.

        Args:
            parts: text in parts of any size, such as the output of a language model.

        Raises:
            MamTraError: a `[pause:...]` mark is malformed, or a part is not a string.
        """

    def iterate(self, text: str) -> Iterator[Segment]:
        """`segments` one by one: what is not asked for is not read."""
        return self.arriving([text])

    def segments(self, text: str) -> list[Segment]:
        """Segments of a text, normalised.

        Raises:
            MamTraError: nothing in the text can be spoken, or a `[pause:...]` mark is malformed.
        """
        found = list(self.iterate(text))
        if not found:
            raise nothing_to_say()
        return found


def split_text(
    texts: Iterable[str], read: Callable[[str], Iterable[Piece]], pause_within: float = CLAUSE_PAUSE
) -> Iterator[Segment]:
    """Segments of sentences, or of other texts with the white space before them, with the natural pauses or those asked for.

    Args:
        texts: as written, with `[pause:...]` marks.
        read: text without marks -> pieces to speak, none where nothing in it can be spoken.
        pause_within: between the pieces of one text, seconds.

    Raises:
        MamTraError: a pause mark is malformed.
    """
    pause, asked, written = 0.0, 0.0, ""
    for text in texts:
        if pause and _BLANK_LINE.search(text[: len(text) - len(text.lstrip())]):
            pause = PARAGRAPH_PAUSE
        for part in parse_markup(text):
            if isinstance(part, Pause):
                asked += part.seconds
                continue
            spoken, written = False, written + part
            for said, ids in read(part):
                # A pause that the text asks for replaces the natural one.
                yield Segment(said, ids, asked or pause, written, asked)
                asked, pause, spoken, written = 0.0, pause_within, True, ""
            pause = SENTENCE_PAUSE if spoken else pause


def paragraphs(text: str, most: int = 2000) -> Iterator[str]:
    """Whole sentences together, up to a blank line or about `most` characters, with the white space before them."""
    held = ""
    for sentence in sentences([text]):
        gap = sentence[: len(sentence) - len(sentence.lstrip())]
        if held.strip() and (_BLANK_LINE.search(gap) or len(held) + len(sentence) > most):
            yield held
            held = ""
        held += sentence
    if held.strip():
        yield held


def clauses(text: str) -> list[str]:
    """A normalised text in parts that end with a full stop, question or exclamation mark, colon or semicolon."""
    return _CLAUSE.findall(text)


def read_pieces(text: str, limit: int, read: Callable[[str], Reading]) -> Iterator[Piece]:
    """A normalised text, cut where it is longer than `limit`, with its ids.

    What is cut is read once more: a cut is a pause, which decides how the words next to it are said.
    """
    reading = read(text)
    pieces = cut_long(text, limit, reading.ends)
    if len(pieces) < 2:
        yield text, reading.ids
        return
    for piece in pieces:
        yield from read_pieces(piece, limit, read)


def cut_long(text: str, limit: int, ends: Sequence[int] | None = None) -> list[str]:
    """Pieces of at most `limit` units, cut at the strongest punctuation near the middle, else between words.

    Args:
        text: a normalised sentence.
        limit: greatest number of units; a single longer word is cut in halves.
        ends: where in the text each unit ends, ascending; by default each character is a unit.
    """
    ends = range(1, len(text) + 1) if ends is None else ends

    def length(begin: int, end: int) -> int:
        return bisect_right(ends, end) - bisect_right(ends, begin)

    def cut(begin: int, end: int) -> list[str]:
        part = text[begin:end]
        begin, end = begin + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
        if end - begin < 2 or length(begin, end) <= limit:
            return [text[begin:end]] if begin < end else []
        place, middle = (begin + end) // 2, (begin + end) / 2
        for pattern in _CUTS:
            found = (begin + match.start() for match in pattern.finditer(text[begin:end]))
            # no piece shall be a scrap of the sentence
            inside = [p for p in found if min(length(begin, p), length(p, end)) >= limit // 5]
            if inside:
                place = min(inside, key=lambda p: abs(p - middle))
                break
        return cut(begin, place) + cut(place, end)

    return cut(0, len(text))


def nothing_to_say() -> MamTraError:
    """The error for a text without words."""
    return MamTraError("There is nothing to say in this text: give it at least one word or number.")
