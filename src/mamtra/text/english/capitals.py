"""Words in capitals: Roman numerals, initialisms that are spelt, acronyms that are words, and shouting."""

from __future__ import annotations

import re
from collections.abc import Callable

from mamtra.text.english.numbers import cardinal, from_roman, ordinal
from mamtra.text.english.wordlists import listed

_REIGNS = (
    "Henry|Louis|Charles|George|Edward|James|William|Richard|Elizabeth|Mary|Philip|Francis|Frederick|Alexander|Nicholas"
    "|Catherine|Peter|Ivan|Leopold|Albert|Ferdinand|Alfonso|Napoleon|Pius|Benedict|Gregory|Clement|Innocent|Leo|Paul"
    "|John|Urban|Ramses|Rameses|Ptolemy|Darius|Xerxes|Otto|Harold|Robert|Victoria|Margaret|Christian|Gustav|Haakon"
)
_NUMBERED = (
    "Chapter|Part|Act|Scene|Volume|Book|Section|Article|Phase|Type|Class|Title|Level|Stage|Grade|War|Bowl|Apollo|Figure"
    "|Table|Appendix|Unit|Round|Step|Mark|Episode|Rocky|Fantasy|Saturn|Polaris|Trident|Division|Canto|Symphony|Season"
)
_REIGN = re.compile(rf"\b({_REIGNS})\s+([IVXL]+)\b(?!')")
_NUMBERED_RE = re.compile(rf"\b((?:{_NUMBERED})s?)\s+([IVXLCDM]+)\b(?!')", re.IGNORECASE)
_SUFFIX = re.compile(r"\b([A-Z][a-z]+\s+(?:[A-Z]\s+)?[A-Z][a-z]+),?\s+(II|III|IV)\b")
_LONE = re.compile(r"(?<=[a-z]\s)(II|III|IV|VI|VII|VIII|IX|XI|XII|XIII|XIV|XV|XVI|XVII|XVIII|XIX|XX|XXI)\b")
_CAPS = re.compile(r"(?<![\w'-])([A-Z]{2,})('?s)?(?![\w])")

# Said as words although they look like initials; the lexicon knows more of them.
_WORDS = frozenset(
    listed(
        "NASA NATO AIDS UNESCO UNICEF OPEC NAFTA RADAR LASER SCUBA SONAR SWAT FEMA OSHA NASDAQ ASCII JPEG "
        "GIF PIN RAM ROM "
        "SIM COVID FIFA UEFA ASEAN NIMBY YOLO FOMO LEGO IKEA OK"
    )
)
# Spelt although a word looks the same.
_SPELT = frozenset(listed("US IT TV PC UK EU UN AM PM ID IQ PR HR AI ER PE LA IP MIT DOS EST PST CST AC DC MS CD DJ"))


def _roman(match: re.Match[str], name: Callable[[int], str]) -> str:
    value = from_roman(match[2].upper())
    return f"{match[1]} {name(value)}" if value else match[0]


def expand_roman(text: str) -> str:
    """``"Henry VIII"`` -> ``"Henry the eighth"``, ``"Chapter IV"`` -> ``"Chapter four"``."""
    text = _NUMBERED_RE.sub(lambda m: _roman(m, cardinal) if m[2].isupper() else m[0], text)
    text = _REIGN.sub(lambda m: _roman(m, lambda value: "the " + ordinal(value)), text)
    text = _SUFFIX.sub(lambda m: _roman(m, lambda value: "the " + ordinal(value)), text)
    return _LONE.sub(lambda m: cardinal(from_roman(m[1]) or 0), text)


def spell_capitals(text: str, known: Callable[[str], bool] | None = None) -> str:
    """Mark initialisms for spelling: ``"UCLA"`` -> ``"U-C-L-A"``; words in capitals stay words.

    Args:
        text: a sentence.
        known: tells whether a lower-case word is in the lexicon; without it every short word in capitals is spelt.
    """
    letters = re.sub(r"[^A-Za-z]", "", text)
    shouting = len(letters) > 8 and sum(map(str.isupper, letters)) > 0.8 * len(letters)

    def said(match: re.Match[str]) -> str:
        word, tail = match[1], match[2] or ""
        is_word = known is not None and known(word.lower())
        if word in _WORDS:
            return match[0]
        if shouting and is_word:
            return match[0].lower()
        if word in _SPELT:
            return "-".join(word) + tail
        if is_word or (len(word) > 5 and re.search("[AEIOUY]", word)):
            return match[0]
        if known is not None and known(word):
            return match[0]
        return "-".join(word) + tail

    if shouting:
        text = re.sub(r"\bA\b(?!-)", "a", text)
    return _CAPS.sub(said, text)
