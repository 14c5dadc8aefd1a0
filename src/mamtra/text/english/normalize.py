"""English text as written -> the words that are spoken, with the punctuation that guides the voice.

``"Dr. Ito paid $3.50 at 9:05 a.m."`` -> ``"Doctor Ito paid three dollars and fifty cents at nine oh five A-M."``.
Capital letters joined by hyphens (``A-M``) are to be spelt; everything else is a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mamtra.errors import MamTraError
from mamtra.text.english.abbreviations import expand_abbreviations
from mamtra.text.english.capitals import expand_roman, spell_capitals
from mamtra.text.english.characters import clean
from mamtra.text.english.dates import expand_dates
from mamtra.text.english.quantities import expand_quantities
from mamtra.text.english.web import expand_web

_OPENING = r"(?<![\w'])'(?!(?:tis|twas|em|cause|til|n)\b)(?=[A-Za-z])"
_QUOTED = [  # a closing mark after punctuation is surer than one after a word, which may be a possessive
    re.compile(_OPENING + r"([^\"]*?[,.!?;])'(?!\w)"),
    re.compile(_OPENING + r"([^'\"]*(?:\w'\w[^'\"]*)*\w)'(?!\w)"),
]
_SYMBOLS = [
    (re.compile(r"\bAT&T\b"), "A-T and T"),
    (re.compile(r"([A-Z])\s?&\s?([A-Z])(?![A-Za-z])"), r"\1 and \2"),
    (re.compile(r"\bC\+\+"), "C plus plus"),
    (re.compile(r"(?<=\d)\s?\*\s?(?=\d)"), " times "),
    (re.compile(r"\^2\b"), " squared"),
    (re.compile(r"\^3\b"), " cubed"),
    (re.compile(r"(?<=\d)\s+[-–]\s+(?=\d)"), " minus "),
    (re.compile(r"~\s?(?=\d)"), "about "),
    (re.compile(r"(?<=\d)\+(?!\s?\d)"), " plus"),
    (re.compile(r"\band/or\b"), "and or"),
    (re.compile(r"(?<=\w)-a-(?=\w)"), " a "),
    (re.compile(r"-+>|→"), " to "),
]
_AFTER_NUMBERS = {
    "&": " and ",
    "+": " plus ",
    "=": " equals ",
    "@": " at ",
    "%": " percent ",
    "°": " degrees ",
    "§": " section ",
    "×": " times ",
    "÷": " divided by ",
    "±": " plus or minus ",
    "¬": " not ",
    "≤": " less than or equal to ",
    "≥": " greater than or equal to ",
    "≈": " about ",
    "≠": " not equal to ",
    "<": " less than ",
    ">": " greater than ",
    "$": " dollars ",
    "£": " pounds ",
    "€": " euros ",
    "¥": " yen ",
    "¢": " cents ",
    "µ": " micro ",
    "\\": " backslash ",
    "/": " slash ",
    "[": "(",
    "{": "(",
    "]": ")",
    "}": ")",
    "|": ", ",
    "#": " ",
    "*": " ",
    "_": " ",
    "~": " ",
    "^": " ",
}
_DROPPED_NUMBER_SIGN = re.compile(r"(?<!\w)#(?!\w)")


def normalize(text: str, known: Callable[[str], bool] | None = None) -> str:
    """Spoken words of a sentence, with its punctuation.

    Args:
        text: one sentence or phrase as written.
        known: tells whether a lower-case word is in the lexicon (decides between shouting and initials).

    Raises:
        MamTraError: nothing in the text can be spoken.
    """
    said = clean(text)
    said = expand_web(said)
    said = expand_abbreviations(said)
    for pattern, replacement in _SYMBOLS:
        said = pattern.sub(replacement, said)
    said = expand_dates(said)
    said = expand_roman(said)
    said = expand_quantities(said)
    said = _DROPPED_NUMBER_SIGN.sub(" number ", said) if re.search(r"\w", said) else said
    said = "".join(_AFTER_NUMBERS.get(char, char) for char in said) if re.search(r"[A-Za-z]", said) else ""
    said = spell_capitals(said, known)
    said = _tidy(said)
    if not re.search(r"[A-Za-z]", said):
        raise MamTraError("There is nothing to say in this text: give it at least one word or number.")
    return said


def _tidy(text: str) -> str:
    """One space between words, dashes and quotes in one form each, no punctuation without words."""
    for quoted in _QUOTED:
        text = quoted.sub(r'"\1"', text)
    text = re.sub(r"\s*(?:--+|–|—)\s*|\s+-\s+", "—", text)
    text = re.sub(r"(?<![A-Za-z])'(?!\w)|(?<!\w)'(?![A-Za-z])|(?<![\w])-|-(?!\w)", " ", text)
    text = re.sub(r"\.(?:\s?\.)+", "...", text)
    text = re.sub(r"\(\s*\)|\"\s*\"", " ", text)
    text = re.sub(r"([!?]){2,}", lambda m: "?" if "?" in m[0] else "!", text)
    text = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
    text = re.sub(r"[,;:]\s*([.!?])", r"\1", text)
    text = re.sub(r"\s+([,.;:!?)])", r"\1", text)
    text = re.sub(r"([,;:.!?])—+", r"\1 ", text)
    text = re.sub(r"\(\s+", "(", text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"^[,.;:!?)—\s]+", "", text)


def spoken_words(normalized: str) -> str:
    """The words alone, lower-case and separated by single spaces, as word error rates compare them."""
    return " ".join(re.sub(r"[^a-z' ]+", " ", normalized.lower()).split())
