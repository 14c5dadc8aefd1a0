"""What a line break means: wrapped prose goes on, while headings, items, poem lines and fields end a phrase."""

from __future__ import annotations

import re
from collections.abc import Callable

from mamtra.text.english.patterns import Pattern

ITEM = "\x1e"
"""Begins a line that is an item of a list; removed here."""

_SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and c != ITEM)
"""What a line may be blank of: all that `str.split` parts words at, but for `ITEM`, which is a space to Python."""

_BLANK = Pattern(rf"\n[ \t]*\n[{re.escape(_SPACES)}]*")
"""Between paragraphs: blank lines, and the indentation behind them."""

_NARROW = 50
_ENDED = Pattern(r"[.!?;:,…—–][\"'”’)\]]*$")
_BROKEN_WORD = Pattern(r"([A-Za-z]+)[-‐­]\n[ \t]*([a-z]+)")
_FIELD = Pattern(r"[A-Z][\w ./'-]{0,30}:(?:\s|$)")
_GOES_ON = Pattern(
    r"(?:and|or|of|in|on|with|to|that|who|which|where|when|while|for|from|by|as|at|but|upon|through|beneath|like|than|nor"
    r"|under|over|into|without|till|until)\b",
    re.IGNORECASE,
)


def _joined(known: Callable[[str], bool] | None) -> Callable[[re.Match[str]], str]:
    def join(match: re.Match[str]) -> str:
        first, second = match.groups()
        whole = first + second
        hyphenated = known is not None and not known(whole.lower()) and known(first.lower()) and known(second)
        return f"{first}-{second}" if hyphenated else whole

    return join


def _between(line: str, following: str, width: int, menu: bool) -> str:
    """What stands for the break between two lines of a paragraph."""
    if following.startswith(ITEM) or line.startswith(ITEM):
        wrapped = not following.startswith(ITEM) and following[:1].islower()
        return " " if wrapped or _ENDED.search(line) else ". "
    if _ENDED.search(line):
        return " "
    first = following.split(None, 1)[0]
    if width >= _NARROW and len(line) + 1 + len(first) > width:
        return " "  # the next word did not fit: wrapped prose
    if _FIELD.match(following):
        return ". "
    if following[:1].islower():
        return ", " if menu and len(line.split()) <= 4 else " "
    return ", " if _GOES_ON.match(following) else ". "


def _paragraph(text: str) -> str:
    lines = [stripped for line in text.split("\n") if (stripped := line.strip(_SPACES))]
    width = max(map(len, lines), default=0)
    menu = width < _NARROW and len(lines) > 2 and all(line[:1].islower() for line in lines)
    said = []
    for place, line in enumerate(lines):
        following = lines[place + 1] if place + 1 < len(lines) else ""
        said.append(line.lstrip(ITEM) + (_between(line, following, width, menu) if following else ""))
    return "".join(said)


def join_lines(text: str, known: Callable[[str], bool] | None = None) -> str:
    """Text whose only line breaks are the blank lines between paragraphs.

    Args:
        text: text as written, items of lists marked by `ITEM`.
        known: tells whether a lower-case word exists, which decides if a word broken at a hyphen keeps it.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    if "\n" not in text:
        return text.replace(ITEM, "")
    text = _BROKEN_WORD.sub(_joined(known), text)
    paragraphs = [part for part in _BLANK.split(text) if part.strip()]
    # Items that stand apart by blank lines are still one list.
    said: list[str] = []
    for part in paragraphs:
        if said and part.startswith(ITEM):
            before = said[-1]
            said[-1] = before + (" " if _ENDED.search(before) else ". ") + _paragraph(part)
        else:
            if said and not _ENDED.search(said[-1]):
                said[-1] += "."
            said.append(_paragraph(part))
    return "\n\n".join(said)
