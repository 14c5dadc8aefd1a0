"""English text as written -> the words that are spoken, with the punctuation that guides the voice.

``"Dr. Ito paid $3.50 at 9:05 a.m."`` -> ``"Doctor Ito paid three dollars and fifty cents at nine oh five A-M."``.
Capital letters joined by hyphens (``A-M``) are to be spelt; ``[word](/phonemes/)`` is said as its phonemes tell;
everything else is a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mamtra.errors import MamTraError
from mamtra.text.english.abbreviations import expand_abbreviations
from mamtra.text.english.capitals import spell_capitals
from mamtra.text.english.characters import PLACEHOLDER, clean
from mamtra.text.english.dates import DateOrder, expand_dates
from mamtra.text.english.formulas import expand_formulas
from mamtra.text.english.labels import expand_labels, expand_long_numbers
from mamtra.text.english.patterns import Pattern
from mamtra.text.english.plain_text import plain_text
from mamtra.text.english.pronunciations import OwnWords, set_aside, written_pronunciation
from mamtra.text.english.quantities import expand_quantities
from mamtra.text.english.roman import expand_roman
from mamtra.text.english.symbols import AFTER_NUMBERS, expand_names
from mamtra.text.english.times import expand_times
from mamtra.text.english.verses import expand_verses
from mamtra.text.english.web import expand_web

_OPENING = r"(?<![\w'])'(?!(?:tis|twas|twere|em|cause|til|n)\b)(?=[A-Za-z])"
_QUOTED = [  # a closing mark after punctuation is surer than one after a word, which may be a possessive
    Pattern(_OPENING + r"([^\"]{0,1000}?[,.!?;])'(?!\w)"),
    Pattern(_OPENING + r"([^'\"]{0,1000}(?:\w'\w[^'\"]{0,1000})*\w)'(?!\w)"),
]
_CLOSING = Pattern(r"(?<=[A-Za-z][.!?,])'(?=\s*\"?\s*$)")
_NUMBER_SIGN = Pattern(r"(?<!\w)#(?!\w)")


class NothingToSay(MamTraError):
    """A text has no word or number in it."""


def normalize(
    text: str, known: Callable[[str], bool] | None = None, date_order: DateOrder = "auto", own: OwnWords | None = None
) -> str:
    """Spoken words of a sentence, with its punctuation.

    Args:
        text: one sentence or phrase as written; markup is silent, and line breaks may end phrases (see `plain_text`).
        known: tells whether a lower-case word is in the lexicon (decides between shouting and initials).
        date_order: of day and month in dates of figures only; "auto" puts the month first unless it cannot be.
        own: a user's words with figures or signs in them, which no other rule may touch.

    Raises:
        NothingToSay: nothing in the text can be spoken.
        MamTraError: a pronunciation has symbols that are no phonemes.
    """
    said, given = set_aside(plain_text(text, known), own)
    said = expand_long_numbers(clean(said))
    said = expand_web(said)
    said = expand_names(said)
    said = expand_roman(expand_verses(said))
    said = expand_abbreviations(said)
    said = expand_formulas(said)
    said = expand_dates(said, date_order)
    said = expand_labels(said)
    said = expand_times(said)
    said = expand_quantities(said)
    said = _NUMBER_SIGN.sub(" number ", said) if re.search(r"\w", said) else said
    spoken = re.search(r"[A-Za-z]", said) is not None or bool(given)
    said = "".join(AFTER_NUMBERS.get(char, char) for char in said) if spoken else ""
    said = spell_capitals(said, known)
    said = _tidy(said)
    if not (re.search(r"[A-Za-z]", said) or given):
        raise NothingToSay("There is nothing to say in this text: give it at least one word or number.")
    parts = said.split(PLACEHOLDER)
    return parts[0] + "".join(written_pronunciation(*pair) + part for pair, part in zip(given, parts[1:], strict=True))


def _tidy(text: str) -> str:
    """One space between words, dashes and quotes in one form each, no punctuation without words."""
    for quoted in _QUOTED:
        text = quoted.sub(r'"\1"', text)
    text = _CLOSING.sub('"', text)
    text = re.sub(r"\s*(?:--+|–|—)\s*|\s+-\s+", "—", text)
    text = re.sub(
        rf"(?<![A-Za-z{PLACEHOLDER}])'(?!\w)|(?<!\w)(?<!{PLACEHOLDER})'(?![A-Za-z])|(?<![\w])-|-(?!\w)", " ", text
    )
    text = re.sub(r"\.(?:\s?\.)+", "...", text)
    text = re.sub(r"(?<=[\w.,!?])\"{2,}|(?<!\S)\"{2,}(?=\w)", '"', text)
    text = re.sub(r"\(\s*\)|\"\s*\"", " ", text)
    text = re.sub(r"([!?]){2,}", lambda m: "?" if "?" in m[0] else "!", text)
    text = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
    text = re.sub(r"[,;:]\s*([.!?])", r"\1", text)
    text = re.sub(r"([!?])\s*\.(?=\s|$)", r"\1", text)
    text = re.sub(r"\s+([,.;:!?)])", r"\1", text)
    text = re.sub(r"([,;:.!?])—+", r"\1 ", text)
    text = re.sub(r"\(\s+", "(", text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"^[,.;:!?)—\s]+", "", text)
