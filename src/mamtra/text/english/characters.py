"""Any Unicode text to the few characters that the rest of the normaliser knows."""

from __future__ import annotations

import re
import unicodedata

from mamtra.text.english.numbers import from_roman
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.wordlists import listed

_QUOTES = dict.fromkeys("“”„‟«»″〝〞", '"') | dict.fromkeys("‘’‚‛ʼ′`´＇", "'")
_DASHES = dict.fromkeys("‐‑‒", "-") | dict.fromkeys("―⸺", "—") | {"−": "-"}
_LATIN = {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ł": "l", "Ł": "L", "đ": "d"}
_LATIN |= {"Đ": "D", "þ": "th", "Þ": "Th", "ð": "th", "Ð": "Th", "ı": "i"}
_OTHER = {
    "…": "...", "•": ", ", "·": " ", "™": "", "®": "", "©": "copyright ", "№": "No. ", "⁄": "/",
    "μ": "µ", "℃": "°C", "℉": "°F", "ℓ": "l", "\u2061": "",
}  # fmt: skip
_SAID_SIGNS = {
    "√": "the square root of", "∛": "the cube root of", "∞": "infinity", "∑": "the sum of", "∏": "the product of",
    "∫": "the integral of", "∂": "partial", "∇": "nabla", "∈": "in", "∉": "not in", "∀": "for all",
    "∃": "there exists", "∴": "therefore", "∵": "because", "∝": "is proportional to", "∪": "union",
    "∩": "intersection", "⊂": "is a subset of", "∅": "the empty set", "∠": "angle", "∥": "is parallel to",
    "⊥": "is perpendicular to", "⇒": "implies", "⇔": "if and only if", "←": "from", "↑": "up", "↓": "down",
    "↔": "to and from", "∧": "and", "∨": "or", "≡": "is equivalent to", "∼": "is similar to", "≅": "is congruent to",
    "‰": "per thousand", "Δ": "delta", "∆": "delta", "Σ": "sigma", "Π": "pi", "Φ": "phi", "Ψ": "psi", "Γ": "gamma",
    "Λ": "lambda", "Θ": "theta", "♯": "sharp", "♭": "flat", "⋅": "times", "∙": "times", "≪": "much less than",
    "≫": "much greater than", "℞": "prescription",
}  # fmt: skip
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψωµ",
        listed(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau "
            "upsilon phi chi psi omega mu"
        ),
        strict=True,
    )
)
_TABLE = {ord(key): value for key, value in (_QUOTES | _DASHES | _LATIN | _OTHER).items()}
_TABLE |= {ord(key): f" {value} " for key, value in _SAID_SIGNS.items()}
_CURRENCIES = "$£€¥¢₹₽₪₩₺₫₴₦₱฿₿₡₵₸₾"
PLACEHOLDER = "\ue000"
"""Stands for a part of the text whose pronunciation is given."""

_KEPT_SYMBOLS = frozenset(_CURRENCIES + PLACEHOLDER + "%&+=<>@#*/\\^_|~°§×÷±→¬µΩ≤≥≈≠–—\"'-()[]{}.,;:!?")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")
_RAISED = Pattern("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_THIN_THOUSANDS = FigurePattern(r"(?<![\d.,])(\d{1,3}(?:[\u00a0\u2009\u202f\u2007]\d{3})+)(?![\d\u00a0\u2009\u202f])")
_NUMERAL = Pattern("(?:([A-Z][a-z]+) )?([Ⅰ-ⅿ]+)")
_DOT_PRODUCT = FigurePattern(r"(?<=\d)\s?·\s?(?=\d)")
_UNIT_PRODUCT = FigurePattern(r"(?<=\d)(\s?[A-Za-z]{1,3})[·⋅](?=[A-Za-z]{1,3}\b)")
_LONE_GREEK = Pattern(r"(?<![Ͱ-Ͽἀ-῿])[α-ω](?![Ͱ-Ͽἀ-῿])")


def _fractions(text: str) -> str:
    """``"3⅛"`` -> ``"3 1/8"``."""

    def written(match: re.Match[str]) -> str:
        whole, sign = match.groups()
        parts = unicodedata.normalize("NFKD", sign).replace("⁄", "/")
        return f"{whole} {parts}" if whole else parts

    return re.sub(r"(?:(\d)\s*)?([¼-¾⅐-⅞↉])", written, text)


def _raised(match: re.Match[str]) -> str:
    """A power after a digit, letter, unit or bracket; elsewhere (a footnote's mark after a stop) the digits go."""
    before = match.string[match.start() - 1 : match.start()]
    digits = match[0].translate(_SUPERSCRIPTS)
    if len(digits) == 1 and re.search(r"[^\W\d_]{4}$", match.string[max(0, match.start() - 4) : match.start()]):
        return ""  # the number of a note at the end of a word
    return "^" + digits if before.isalnum() or before in (")", "]", "Ω", "µ") else ""


def _greek(match: re.Match[str]) -> str:
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    return f"{' ' if before.isalnum() else ''}{_GREEK.get(match[0], '')}{' ' if after.isalnum() else ''}"


def _numeral(match: re.Match[str]) -> str:
    """A number, but after a name letters, which other rules read: Henry Ⅷ."""
    letters = unicodedata.normalize("NFKD", match[2]).upper()
    value = from_roman(letters)
    return match[0] if value is None else f"{match[1]} {letters}" if match[1] else str(value)


def clean(text: str) -> str:
    """Straight quotes, plain spaces and unaccented Latin letters; emoji and control characters are dropped.

    Line breaks become spaces. Letters of scripts other than Latin are dropped (`unread` lists them), except single
    Greek letters, which are named.
    """
    if text.isascii() and text.isprintable() and "`" not in text:
        return re.sub(r" +", " ", text).strip()
    text = _THIN_THOUSANDS.sub(lambda m: re.sub(r"\s", ",", m[1]), unicodedata.normalize("NFC", text))
    text = _NUMERAL.sub(_numeral, text)
    text = re.sub(r"(?<=[∑∏√])\s*of\b", "", text)  # their names end with it
    text = _RAISED.sub(_raised, _fractions(text)).translate(_SUBSCRIPTS)
    text = _UNIT_PRODUCT.sub(r"\1-", _DOT_PRODUCT.sub("×", text)).translate(_TABLE)
    text = _LONE_GREEK.sub(_greek, text)
    kept: list[str] = []
    for char in text:
        if char.isascii() or char in _KEPT_SYMBOLS:
            kept.append(char)
        else:
            kept += unicodedata.normalize("NFKD", char)
    return re.sub(r" +", " ", "".join(map(_plain, kept))).strip()


def _plain(char: str) -> str:
    if char.isspace():
        return " "
    if (char.isascii() and char.isalnum()) or char in _KEPT_SYMBOLS:
        return char
    return "" if unicodedata.combining(char) or unicodedata.category(char) in ("Cc", "Cf", "Mn") else " "


def unread(text: str) -> list[str]:
    """What of a text no rule can read: runs of letters, digits and signs that `clean` drops, in order, each once.

    Emoji, ornaments and marks of layout count as silent, not as unread.
    """
    if text.isascii():
        return []
    text = unicodedata.normalize("NFC", text)
    runs: list[str] = []
    run = ""
    for char in text + " ":
        if _is_unread(char) or (run and unicodedata.category(char) in ("Mn", "Mc", "Cf")):
            run += char
        elif run:
            runs.append(run)
            run = ""
    return list(dict.fromkeys(runs))


def _is_unread(char: str) -> bool:
    if char.isascii() or char in _KEPT_SYMBOLS or ord(char) in _TABLE or char in _GREEK or _RAISED.match(char):
        return False
    if unicodedata.category(char)[0] not in "LN" and unicodedata.category(char) not in ("Sc", "Sm"):
        return False
    return not any((c.isascii() and c.isalnum()) or c in _KEPT_SYMBOLS for c in unicodedata.normalize("NFKD", char))
