"""Markdown as silent structure: the marks go, the words stay, and every block ends where its line ends."""

from __future__ import annotations

import re

from mamtra.text.english.lines import ITEM
from mamtra.text.english.numbers import from_roman
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.phonemes import ALPHABET

PRONUNCIATION = Pattern(r"\[([^\[\]\n]{1,200})\]\(/([^/\n]{1,200})/\)")
"""``[word](/phonemes/)``; it is told from a link by `is_pronunciation`."""

_FENCED = Pattern(r"^[ \t]*(```|~~~)[^\n`]*\n(.{0,20000}?)^[ \t]*\1[ \t]*$", re.M | re.S)
_FENCE = Pattern(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.M)
_RULE = Pattern(r"^[ \t]*(?:([-*_=~#+])[ \t]*(?:\1[ \t]*){2,})$", re.M)
_LINK_TARGET = Pattern(r"^[ \t]*\[[^\]\n]{1,200}\]:[ \t]*\S+.*$", re.M)
_HEADING = Pattern(r"^[ \t]{0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", re.M)
_DECORATED_HEADING = Pattern(r"^[ \t]*(={2,6})[ \t]*([^=\n]+?)[ \t]*\1[ \t]*$", re.M)
_QUOTE = Pattern(r"^[ \t]*>(?:[ \t]*>)*[ \t]*(?![ \t\d=])", re.M)
_TABLE_RULE = Pattern(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)+\|?[ \t]*$", re.M)
_TABLE_ROW = Pattern(r"^[ \t]*\|(.+)\|[ \t]*$")
_BULLET = Pattern(r"^[ \t]*(?:[-*+•‣◦▪●–—][ \t]+|[•‣◦▪●])(?:\[[ xX]\][ \t]+)?(?=\S)", re.M)
_NUMBERED = FigurePattern(r"^[ \t]*(\d{1,3})[.)][ \t]+(?=\S)", re.M)
_ROMAN_ITEM = Pattern(r"^[ \t]*\(?(x{0,2}(?:ix|iv|v?i{1,3}))\)[ \t]+(?=\S)", re.M)
_IMAGE = Pattern(r"!\[([^\]\n]{0,300})\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
_LINK = Pattern(r"\[([^\[\]\n]{1,300})\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
_LINK_BY_NAME = Pattern(r"\[([^\[\]\n]{1,300})\]\[[^\[\]\n]{0,100}\]")
_FOOTNOTE = Pattern(r"\[\^[\w-]{1,40}\]:?")
_CODE = Pattern(r"(`+)(?=\S)([^`\n]{1,500})(?<=\S)\1(?!`)")
_OPTION = Pattern(r"(?<!\S)--?(?=[A-Za-z])")
_STRONG = Pattern(r"(?<![\w*\\])(\*{2,3}|\*)(?=[^\s*])([^*\n]{1,1000}?)(?<=[^\s*\\])\1(?![\w*])")
_STRONG_INSIDE = Pattern(r"\*\*(?=[^\s*])([^*\n]{1,1000}?)(?<=[^\s*])\*\*")
_UNDERLINED = Pattern(r"(?<![\w_\\])(_{1,3})(?=[^\s_])([^\n]{1,1000}?)(?<=[^\s_\\])\1(?![\w_])")
_STRUCK = Pattern(r"~~(?=\S)([^~\n]{1,1000}?)(?<=\S)~~")
_MARKED = Pattern(r"(?<![\w=])==(?=[^\s=])([^=\n]{1,1000}?)(?<=\S)==(?![\w=])")
_ESCAPED = Pattern(r"\\([*_`#\[\]()>|~$&.!+-])")
_RUN = Pattern(r"(?<!\S)[=~*_#]{3,}(?!\S)")


def is_pronunciation(phonemes: str) -> bool:
    """Whether the target of ``[word](/.../)`` is phonemes rather than the path of a link (which is plain ASCII)."""
    return any(symbol in ALPHABET for symbol in phonemes if not symbol.isascii())


def _link(match: re.Match[str]) -> str:
    spoken = PRONUNCIATION.fullmatch(match[0])
    return match[0] if spoken and is_pronunciation(spoken[2]) else match[1]


def _rows(lines: list[str]) -> list[str]:
    """Cells of table rows separated by commas."""
    read = []
    for line in lines:
        row = _TABLE_ROW.match(line)
        if row:
            cells = [cell.strip() for cell in row[1].split("|")]
            line = ", ".join(cell for cell in cells if cell)
            line += "" if not line or line[-1] in ".!?" else "."
        read.append(line)
    return read


def strip_markdown(text: str) -> str:
    """Text without the marks of Markdown. Headings and rules stand between blank lines, items keep their lines."""
    text = _LINK_TARGET.sub("", _FENCED.sub(lambda m: "\n" + re.sub(r"^(?=.)", ITEM, m[2], flags=re.M) + "\n", text))
    text = _FENCE.sub("\n", text)
    text = _RULE.sub("\n", _TABLE_RULE.sub("", text))
    text = _DECORATED_HEADING.sub(r"\n\2\n", text)
    text = _QUOTE.sub("", text)
    text = _HEADING.sub(r"\n\1\n", text)
    if "|" in text:
        text = "\n".join(_rows(text.split("\n")))
    text = _BULLET.sub(ITEM, text)
    text = _NUMBERED.sub(rf"{ITEM}\1, ", text)
    text = _ROMAN_ITEM.sub(lambda match: f"{ITEM}{from_roman(match[1].upper())}, ", text)
    if "[" in text:
        text = _FOOTNOTE.sub("", text)
        text = _LINK_BY_NAME.sub(r"\1", _LINK.sub(_link, _IMAGE.sub(r"\1", text)))
    text = _CODE.sub(lambda match: _OPTION.sub(lambda dashes: "dash " * len(dashes[0]), match[2]), text)
    for _ in range(2):  # **bold with *emphasis* inside**
        text = _STRONG_INSIDE.sub(r"\1", _STRONG.sub(r"\2", text))
    text = _MARKED.sub(r"\1", _STRUCK.sub(r"\1", _UNDERLINED.sub(r"\2", text)))
    return _RUN.sub(" ", _ESCAPED.sub(r"\1", text))
