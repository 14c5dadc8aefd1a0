"""Any Unicode text to the few characters that the rest of the normaliser knows."""

from __future__ import annotations

import re
import unicodedata

from mamtra.text.english.wordlists import listed

_QUOTES = dict.fromkeys("“”„‟«»″〝〞", '"') | dict.fromkeys("‘’‚‛ʼ′`´＇", "'")
_DASHES = dict.fromkeys("‐‑‒", "-") | dict.fromkeys("―⸺", "—") | {"−": "-"}
_FRACTIONS = {
    "½": "1/2",
    "⅓": "1/3",
    "⅔": "2/3",
    "¼": "1/4",
    "¾": "3/4",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}
_LATIN = {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ł": "l", "Ł": "L", "đ": "d"}
_LATIN |= {"Đ": "D", "þ": "th", "Þ": "Th", "ð": "th", "Ð": "Th", "ı": "i"}
_OTHER = {"…": "...", "•": ", ", "·": " ", "™": "", "®": "", "©": "", "№": "No. ", "⁄": "/", "²": "^2", "³": "^3"}
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψω",
        listed(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau "
            "upsilon phi "
            "chi psi omega"
        ),
        strict=True,
    )
)
_TABLE = {ord(key): value for key, value in (_QUOTES | _DASHES | _LATIN | _OTHER).items()}
_KEPT_SYMBOLS = frozenset("$£€¥¢%&+=<>@#*/\\^_|~°§×÷±→¬µ≤≥≈≠–—\"'-()[]{}.,;:!?")


def clean(text: str) -> str:
    """Straight quotes, plain spaces and unaccented Latin letters; emoji and control characters are dropped.

    Line breaks become spaces. Letters of scripts other than Latin are dropped, except single Greek letters, which are
    named.
    """
    text = re.sub(r"</?[A-Za-z][^<>]{0,80}>", " ", text)
    text = re.sub(r"(\d)\s*([½⅓⅔¼¾⅛⅜⅝⅞])", lambda m: f"{m[1]} {_FRACTIONS[m[2]]}", text)
    text = re.sub("[½⅓⅔¼¾⅛⅜⅝⅞]", lambda m: _FRACTIONS[m[0]], text)
    text = unicodedata.normalize("NFC", text).translate(_TABLE)
    text = re.sub(r"(?<!\w)[α-ω](?!\w)", lambda m: f" {_GREEK.get(m[0], '')} ", text)
    # Compatibility folding would take the micro sign for a letter and the degree sign for a raised zero.
    folded = "".join(char if char in "µ°" else unicodedata.normalize("NFKD", char) for char in text)
    kept: list[str] = []
    for char in folded:
        if char.isspace():
            kept.append(" ")
        elif (char.isascii() and char.isalnum()) or char in _KEPT_SYMBOLS:
            kept.append(char)
        elif not unicodedata.combining(char) and unicodedata.category(char) not in ("Cc", "Cf", "Mn"):
            kept.append(" ")
    return re.sub(r" +", " ", "".join(kept)).strip()
