"""Addresses, file names, hashtags and handles as they are read out."""

from __future__ import annotations

import re

from mamtra.text.english.numbers import cardinal, digits, pairs, year
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.wordlists import listed

_SAID_DOMAINS = frozenset(
    listed("com org net gov info biz co app dev shop blog news site online store cloud page link")
)
_TOP_LEVEL = (
    "com|org|net|edu|gov|io|co|uk|us|ca|de|fr|eu|info|biz|tv|me|ai|app|dev|au|jp|in|ly|ru|cn|br|nl|ch|pl|gg|xyz|site"
    "|online|store|cloud|page"
)
_SHORTENERS = r"(?:youtu\.be|goo\.gl|t\.co|t\.me|git\.io|redd\.it)"
_EXTENSIONS = (
    "md|rst|py|pyi|ipynb|txt|pdf|jpe?g|png|gif|svg|webp|bmp|tiff?|ico|csv|tsv|json|jsonl|ya?ml|toml|xml|html?|css|scss"
    "|js|mjs|jsx|ts|tsx|cpp|cc|hpp|hh|cs|rs|go|java|kt|swift|rb|php|lua|sql|db|sh|bash|zsh|ps1|bat|cmd|exe|msi|dll|dmg"
    "|apk|deb|rpm|iso|img|zip|tar|gz|tgz|bz2|xz|7z|rar|docx?|xlsx?|pptx?|odt|ods|epub|tex|bib|mp3|mp4|m4a|wav|flac|ogg"
    "|opus|aac|avi|mkv|mov|webm|ini|cfg|conf|config|log|lock|env|whl|bin|dat|tmp|bak|pt|pth|onnx|safetensors|npz|npy"
    "|parquet|wasm|vue|ttf|woff2?"
)
_SAID_EXTENSIONS = frozenset(
    listed(
        "json jpeg gif zip tar wav doc log bin bat dat lock env config bash java swift toml yaml tiff parquet onnx "
        "safetensors opus go flac vue"
    )
)
_MARKS = {
    ".": "dot", "_": "underscore", "-": "dash", "+": "plus", "/": "slash", "?": "question mark", "=": "equals",
    "&": "and", "#": "hash", "%": "percent", "~": "tilde", ":": "colon", "@": "at", "\\": "backslash", "$": "dollar",
    "*": "star", "!": "exclamation mark", ",": "comma", ";": "semicolon",
}  # fmt: skip
_EMAIL = Pattern(r"(?:mailto:)?(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_REST = r"[^\s<>\"()\[\]{}]*[A-Za-z0-9/]"
_URL = Pattern(
    rf"(?:https?://|ftp://|\bwww\.){_REST}"
    rf"|(?<![\w@.-])(?:(?:[A-Za-z0-9-]+\.)+(?:{_TOP_LEVEL})(?![\w-])(?!\.\w)|{_SHORTENERS})(?::\d+)?(?:[/?]{_REST})?"
    rf"|(?<![\w@.-])(?:[A-Za-z0-9-]+\.)+[a-z]{{2,6}}/{_REST}"
    rf"|(?<![\w@.-])localhost(?::\d+)?(?:/{_REST})?"
    rf"|(?<![\w@.:/-])[\w-]+\.(?:php|html?|aspx?|jsp|cgi)\?{_REST}"
)
_FILE = Pattern(
    rf"(?<![\w@.:/-])(?:\.{{0,2}}/|~/)?(?:[\w.-]+/)*(?:(?:[\w-]+\.)+({_EXTENSIONS})|[a-z_]\w+\.([chr]))(?![\w-]|\.\w)",
    re.IGNORECASE,
)
_PATH = Pattern(r"(?<![\w/.<>])(?:~|\.{1,2})?(?:/[\w.-]*[\w-]){2,}/?|(?<!\w)[A-Z]:\\[\w\\.-]*\w")
_DOTTED_QUAD = FigurePattern(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+|/\d+)?(?![\w.]*\d)")
_DOT_NAME = Pattern(r"(?<![\w.!?,;:)'\"])\.(?=(?:[a-z]{2,}|NET)\b)")
_HASHTAG = Pattern(r"(?<![\w&])#([A-Za-z]\w*)")
_HANDLE = Pattern(r"(?<!\w)@([A-Za-z]\w*)")
_PIECE = Pattern(r"[A-Za-z]+|\d+|[^\w\s]|_")
_CAMEL = Pattern(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|_")


def _number(piece: str) -> str:
    return cardinal(piece) if len(piece) < 3 and piece[0] != "0" else digits(piece)


def _address(text: str) -> str:
    text = re.sub(r"^\w+://|^mailto:", "", text).rstrip("/")
    pieces = _PIECE.findall(text)
    last_at = max((place for place, piece in enumerate(pieces) if piece == "@"), default=-1)
    words: list[str] = []
    for place, piece in enumerate(pieces):
        before = pieces[place - 1] if place else ""
        if piece.isdigit():
            port = before == ":" and len(piece) == 4
            words.append((cardinal(piece) if piece.endswith("000") else pairs(piece)) if port else _number(piece))
        elif piece.isalpha():
            lower = piece.lower()
            in_domain = before == "." and place > last_at
            spelt = lower == "www" or (in_domain and len(lower) <= 3 and lower not in _SAID_DOMAINS)
            words.append("-".join(lower.upper()) if spelt else lower)
        else:
            words.append(_MARKS.get(piece, ""))
    return " ".join(filter(None, words))


def _path(text: str, extension: str = "") -> str:
    """A path or a file name: marks are named, an extension is spelt unless it is a word."""
    pieces = _PIECE.findall(text.removesuffix(extension)) + ([extension] if extension else [])
    words: list[str] = []
    for place, piece in enumerate(pieces):
        if extension and place == len(pieces) - 1:
            lower = piece.lower()
            spelt = lower not in _SAID_EXTENSIONS
            words.append(_spelt_extension(lower) if spelt else lower)
        elif piece.isdigit():
            is_year = re.fullmatch(r"19\d\d|20[0-3]\d", piece) is not None
            words.append(year(int(piece)) if is_year else _number(piece))
        elif piece.isalpha():
            words.append(piece if piece.isupper() and len(piece) <= 4 else _camel(piece))
        else:
            words.append(_MARKS.get(piece, ""))
    return " ".join(filter(None, words))


def _spelt_extension(extension: str) -> str:
    letters = re.match(r"[a-z]*", extension)
    head = letters[0] if letters else ""
    tail = extension[len(head) :]
    spelt = "-".join(head.upper())
    return f"{spelt} {_path(tail)}".strip() if tail else spelt


def _camel(text: str) -> str:
    words = []
    for piece in _CAMEL.findall(text):
        if piece == "_":
            words.append("underscore")
        elif piece.isupper() and 1 < len(piece) <= 5:
            words.append(piece)  # the rules for capitals decide how it is said
        elif piece.isdigit():
            words.append(_number(piece))
        else:
            words.append(piece.lower())
    return " ".join(words)


def _quad(match: re.Match[str]) -> str:
    said = []
    for piece in re.findall(r"\d+|\D", match[0]):
        if not piece.isdigit():
            said.append(_MARKS[piece])
        elif len(piece) == 3 and not piece.endswith("00") and piece[0] != "0":
            said.append(pairs(piece))
        else:
            said.append(cardinal(piece) if len(piece) < 4 else digits(piece))
    return " ".join(said)


def expand_web(text: str) -> str:
    """``"help@example.com"`` -> ``"help at example dot com"``; ``"main.py"`` -> ``"main dot P-Y"``."""
    if "." in text or "/" in text or "\\" in text or "localhost" in text:
        text = _EMAIL.sub(lambda m: _address(m[0]), text)
        text = _DOTTED_QUAD.sub(_quad, text)
        text = _URL.sub(lambda m: _address(m[0]) if m[0] != "localhost" else m[0], text)
        text = _FILE.sub(lambda m: _path(m[0], m[1] or m[2]), text)
        text = _PATH.sub(lambda m: _path(m[0]), text)
        text = _DOT_NAME.sub("dot ", text)
    text = _HASHTAG.sub(lambda m: "hashtag " + _camel(m[1]), text)
    return _HANDLE.sub(lambda m: "at " + _camel(m[1]), text)
