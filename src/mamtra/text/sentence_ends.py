"""Where a sentence ends: plain rules, no state, and the same answer whether the rest of the text is there or still to come.

A sentence ends at a stop that white space follows, unless the stop belongs to an abbreviation, an initial or a list number,
or what follows shows that the sentence goes on; at a blank line; and at the end of a heading, a list item or another short
line. A line break within running text is white space.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mamtra.text.english.abbreviation_list import BEFORE_MORE, BEFORE_NAMES, BEFORE_NUMBERS, MAY_END, STARTERS

LONGEST_SENTENCE = 1000
"""Characters; a text that goes on without an end is cut at the strongest punctuation before that."""
WINDOW = LONGEST_SENTENCE + 64
"""Characters that decide where a sentence ends."""
SHORT_LINE = 45
"""Running text is wrapped at wider margins, so a shorter line before a capital letter was ended on purpose."""

_BREAK = "\n\r\x0b\x0c\x85\u2028\u2029"
_CANDIDATE = re.compile(rf"(?P<stop>[.!?…]+|[。！？]+)(?P<closed>[\"'”’)\]}}»」』*_]*)|(?P<line>\r\n|[{_BREAK}])")
_WORD_BEFORE = re.compile(r"[^\s(\[{\"“‘*_—–/]*$")
_NEXT = re.compile(r"(\s*)[\"'“‘(\[*_]*(\S*)")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,4}")
_ROMAN = re.compile(r"(?:[IVXLC]{2,}|[VX])(?!\w)")
_INITIAL = re.compile(r"[A-Z]\.")
_INCHES = re.compile(r"\d\s?in$")
_BULLET = re.compile(r"(?:[-*•‣◦]|#{1,6}|>|(?:[A-Za-z]|[ivx]{2,4})\))\s")
_NUMBERED = re.compile(r"\d{1,3}[.)]\s")
_HEADING = re.compile(r"\s*#{1,6}\s")
_OPEN_ENDED = re.compile(
    r"(?:[,;–—&(-]|(?<!\w)(?:a|an|the|of|and|or|to|in|on|at|by|for|with|from|as|but|nor|that|is|was|are|were|my|his|her|our|their|your))$",
    re.I,
)
_WEAKER_CUTS = [re.compile(r"[;:—]\s"), re.compile(r",\s"), re.compile(r"\s")]
_ENOUGH = 24
"""Characters of a next word that tell what it is."""


class Found(NamedTuple):
    """Result of a search: where the sentence ends, 0 where no end is known yet, and where to go on searching."""

    end: int
    resume: int


def find_end(text: str, column: int = 0, start: int = 0, *, final: bool = False) -> Found:
    """The first end of a sentence in a text that begins with it, or with the white space before it.

    Args:
        text: what is known; only its first `WINDOW` characters count.
        column: characters of the line before `text`.
        start: `Found.resume` of the last search in a shorter `text`.
        final: no more text will come.
    """
    final = final or len(text) >= WINDOW
    text = text[:WINDOW]
    for match in _CANDIDATE.finditer(text, start):
        if match.end() > LONGEST_SENTENCE:
            break
        if not text[: match.start()].strip() and match["line"]:
            continue
        ends = _at_line(text, match, column, final) if match["line"] else _at_stop(text, match, final)
        if ends is None:
            return Found(0, match.start())
        if ends:
            return Found(match.start() if match["line"] else match.end(), 0)
    if final and len(text) > LONGEST_SENTENCE:
        return Found(_forced_cut(text), 0)
    return Found(0, min(len(text), LONGEST_SENTENCE))


def _at_stop(text: str, match: re.Match[str], final: bool) -> bool | None:
    """Whether the sentence ends at a stop; None where what follows is not known well enough.

    Only a full stop after an ordinary word decides by itself.
    """
    following, stop, closed = text[match.end() :], match["stop"], bool(match["closed"])
    if not following:
        return True if final else None
    if stop[0] in "。！？":
        return True
    if not following[0].isspace():
        return False
    before = text[max(0, match.start() - _ENOUGH) : match.start()]
    word = _WORD_BEFORE.search(before)[0]
    if stop == "." and word and _is_list_number(word) and not text[: match.start() - len(word)].strip(" \t" + _BREAK):
        return False
    kind = _kind(word) if stop == "." else "pause" if stop[-1] in ".…" else "plain"
    if kind == "plain" and _INCHES.search(before):
        kind = "may end"
    if kind == "plain" and stop == "." and not closed:
        return True
    known = _NEXT.match(following)
    word = known[2]
    if kind in ("plain", "pause"):
        if not word:
            return True if final else None
        return not (word[0].islower() or word[0] in ".…")
    if not (_is_complete(known) or final):
        return None
    if word[:1].islower():
        return False
    if kind == "number":
        return not (word[:1].isdigit() or _ROMAN.match(word))
    if kind == "et cetera":
        return word[:1].isupper()
    return kind == "may end" and _is_starter(word) and not _INITIAL.match(word)


def _kind(word: str) -> str:
    """What a single full stop after `word` may be."""
    if not word:
        return "pause"  # a full stop that stands alone: an ellipsis written with spaces
    if word.isupper() and len(word) > 1 and word.capitalize() in BEFORE_NAMES | MAY_END:
        word = word.capitalize()
    if word in BEFORE_NAMES or word.lower() in BEFORE_MORE:
        return "never"
    if word in BEFORE_NUMBERS:
        return "number"
    if word == "etc":
        return "et cetera"
    if word in MAY_END or (len(word) == 1 and word.isalpha()) or _DOTTED.fullmatch(word) or _ROMAN.fullmatch(word):
        return "may end"
    return "plain"


def _is_starter(word: str) -> bool:
    letters = re.match(r"[A-Za-z]*", word)[0]
    return letters in STARTERS or (len(letters) > 1 and letters.isupper() and letters.capitalize() in STARTERS)


def _is_list_number(word: str) -> bool:
    return (word.isdigit() and len(word) <= 3) or (len(word) == 1 and word.isalpha())


def _is_complete(next_word: re.Match[str]) -> bool:
    """Whether the end of the next word is known, or enough of it."""
    return next_word.end() < len(next_word.string) or len(next_word[2]) >= _ENOUGH


def _at_line(text: str, match: re.Match[str], column: int, final: bool) -> bool | None:
    """Whether the sentence ends at a line break; None where the next line is not known well enough."""
    following = text[match.end() :]
    gap = re.match(r"\s*", following)[0]
    if any(char in _BREAK for char in gap):
        return True
    if gap == following:
        return False if final else None
    if not (_is_complete(_NEXT.match(following)) or final):
        return None
    said = text[: match.start()]
    begin = max(said.rfind(char) for char in _BREAK) + 1
    line, whole = said[begin:].rstrip(), begin > 0 or column == 0
    following = following[len(gap) :]
    marked = whole and (_BULLET.match(line.lstrip()) or _NUMBERED.match(line.lstrip()))
    short = len(line) + (0 if begin else column) < SHORT_LINE
    if _BULLET.match(following) or (whole and _HEADING.match(line)):
        return True
    if _NUMBERED.match(following) and (short or marked):
        return True
    line = line.rstrip("*_\"'”’)")
    if not short or not line or line[-1] in ".!?…" or _OPEN_ENDED.search(line):
        return False
    return not re.sub(r"^[\"'“‘(\[*_]+", "", following)[:1].islower()


def _forced_cut(text: str) -> int:
    """Where a text without an end is cut: after the last of the strongest marks in its second half."""
    for pattern in _WEAKER_CUTS:
        places = [match.start() + 1 for match in pattern.finditer(text, LONGEST_SENTENCE // 2, LONGEST_SENTENCE)]
        if places and text[: places[-1]].strip():
            return places[-1]
    return LONGEST_SENTENCE
