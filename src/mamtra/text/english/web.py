"""E-mail addresses, web addresses, hashtags and handles as they are read out."""

from __future__ import annotations

import re

from mamtra.text.english.numbers import cardinal, digits
from mamtra.text.english.wordlists import listed

_SAID_DOMAINS = frozenset(listed("com org net gov info biz co app dev shop blog news"))
_TOP_LEVEL = "com|org|net|edu|gov|io|co|uk|us|ca|de|fr|eu|info|biz|tv|me|ai|app|dev|au|jp|in|ly"
_MARKS = {
    ".": "dot",
    "_": "underscore",
    "-": "dash",
    "+": "plus",
    "/": "slash",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "~": "tilde",
    ":": "colon",
    "@": "at",
}
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_URL = re.compile(
    r"(?:https?://|ftp://|www\.)[^\s<>\"()]*[A-Za-z0-9/]"
    rf"|(?<![\w@.])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:{_TOP_LEVEL})(?![\w-])(?!\.\w)(?:/[^\s<>\"()]*[A-Za-z0-9/])?"
)
_HASHTAG = re.compile(r"(?<![\w&])#([A-Za-z]\w*)")
_HANDLE = re.compile(r"(?<!\w)@([A-Za-z]\w*)")
_PIECE = re.compile(r"[A-Za-z]+|\d+|[^\w\s]|_")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|_")


def _address(text: str) -> str:
    text = re.sub(r"^\w+://", "", text).rstrip("/")
    pieces = _PIECE.findall(text)
    words: list[str] = []
    for place, piece in enumerate(pieces):
        if piece.isdigit():
            words.append(cardinal(int(piece)) if len(piece) < 3 and piece[0] != "0" else digits(piece))
        elif piece.isalpha():
            lower = piece.lower()
            in_domain = place > 0 and pieces[place - 1] == "." and "@" not in pieces[place:]
            spelt = lower == "www" or (in_domain and len(lower) <= 3 and lower not in _SAID_DOMAINS)
            words.append("-".join(lower.upper()) if spelt else lower)
        else:
            words.append(_MARKS.get(piece, ""))
    return " ".join(filter(None, words))


def _camel(text: str) -> str:
    words = []
    for piece in _CAMEL.findall(text):
        if piece == "_":
            words.append("underscore")
        elif piece.isupper() and 1 < len(piece) <= 5:
            words.append(piece)  # the rules for capitals decide how it is said
        else:
            words.append(piece.lower())
    return " ".join(words)


def expand_web(text: str) -> str:
    """``"help@example.com"`` -> ``"help at example dot com"``; ``"#SnowDay"`` -> ``"hashtag snow day"``."""
    text = _EMAIL.sub(lambda m: _address(m[0]), text)
    text = _URL.sub(lambda m: _address(m[0]), text)
    text = _HASHTAG.sub(lambda m: "hashtag " + _camel(m[1]), text)
    return _HANDLE.sub(lambda m: "at " + _camel(m[1]), text)
