"""Words in capitals: initialisms that are spelt, acronyms that are words, and shouting."""

from __future__ import annotations

import re
from collections.abc import Callable

from mamtra.text.english.morphology import inflected
from mamtra.text.english.patterns import Pattern
from mamtra.text.english.wordlists import listed

_WORD = r"[A-Z]+(?:'[A-Z]+)*"
_CAPS = Pattern(r"(?<![\w'-])([A-Z]{2,}(?:'[A-Z]+)?|[A-Z]'[A-Z]{1,12})('?s)?(?![\w])")
_RUN = Pattern(rf"(?<![\w'-]){_WORD}(?:[ ,;:]+{_WORD})+(?![\w'-])")

# Said as words although they look like initials; the lexicon knows more of them.
_WORDS = frozenset(
    listed(
        "NASA NATO AIDS UNESCO UNICEF OPEC NAFTA RADAR LASER SCUBA SONAR SWAT FEMA OSHA NASDAQ ASCII JPEG "
        "GIF PIN RAM ROM SIM COVID FIFA UEFA ASEAN NIMBY YOLO FOMO LEGO IKEA OK"
    )
)
# Spelt although a word looks the same.
_SPELT = frozenset(
    listed(
        "US IT TV PC UK EU UN AM PM ID IQ PR HR AI ER PE LA IP MIT DOS EST PST CST AC DC MS CD DJ CO OS OR RE IRS GPS DNS "
        "PMS ATM LED LEDS"
    )
)
# Words that no initialism is made of: among capitals they tell of shouting.
_FUNCTION = frozenset(
    listed(
        "THE AND OF IS WAS WERE NOT FOR WITH THIS THAT YOU YOUR ARE BE TO MY HIS HER THEIR OUR WE THEY SHE IF BUT SO BY "
        "FROM HAVE HAS HAD WILL CAN DO DID NO ALL"
    )
)
_DOING = frozenset(
    listed(
        "TURN GET GOT DO MAKE TAKE USE TRY BUY FIX STOP LOVE LIKE WANT NEED GIVE SHUT LEAVE KEEP PUT LET READ WRITE SEE WATCH HEAR "
        "SAY DID DOES IS WAS IF AS THAT WHEN BUT BREAK SELL EAT PICK CLOSE OPEN MISS SAID SAW KNOW HATE WON LOST BRING THROW"
    )
)
"""Before IT, which is then a word."""
_FEWEST = 3


def _is_word(word: str, known: Callable[[str], bool] | None) -> bool:
    """Whether capitals hide a word of the lexicon, or such a word with an ending."""
    if known is None:
        return False
    lower = word.lower()
    if known(lower):
        return True
    ending = len(lower) > 3 and re.search("[aeiouy]", lower[:-1]) is not None
    return ending and inflected(lower, lambda stem: stem if len(stem) > 2 and known(stem) else None) is not None


def _looks_spoken(word: str) -> bool:
    """Whether an unknown run of capitals can be said as a word."""
    return len(word) > 3 and re.search("[AEIOUY]", word) is not None and re.search("[^AEIOUY]", word) is not None


def _lowered(word: str) -> str:
    return word if word == "I" or word.startswith("I'") else word.lower()


def _quieten(text: str, known: Callable[[str], bool]) -> str:
    """Runs of capitals that are sentences or openings, in lower case: "IT WAS THE BEST of times"."""

    def quiet(match: re.Match[str]) -> str:
        words = re.findall(_WORD, match[0])
        words = [w for before, w in zip(["", *words], words, strict=False) if not (w == "IT" and before in _DOING)]
        plain = [w for w in words if len(w) > 1 and w not in _SPELT | _WORDS]
        spoken = [w for w in plain if _is_word(w, known) or (len(w) > 4 and _looks_spoken(w))]
        weight = sum(_FEWEST if w in _FUNCTION else 1 for w in spoken)
        ambiguous = any(w in _SPELT for w in words)
        enough = _FEWEST if ambiguous or len(spoken) < len(plain) else min(2, len(words))
        if weight < enough or 2 * len(spoken) <= len(plain):
            return match[0]
        return re.sub(_WORD, lambda m: _lowered(m[0]) if _stays_word(m[0], known) else m[0], match[0])

    return _RUN.sub(quiet, text)


def _stays_word(word: str, known: Callable[[str], bool]) -> bool:
    return len(word) == 1 or (word not in _WORDS and (_is_word(word, known) or _looks_spoken(word)))


def spell_capitals(text: str, known: Callable[[str], bool] | None = None) -> str:
    """Mark initialisms for spelling: ``"UCLA"`` -> ``"U-C-L-A"``; words in capitals stay words.

    Args:
        text: a sentence.
        known: tells whether a lower-case word is in the lexicon; without it every short word in capitals is spelt.
    """
    letters = re.sub(r"[^A-Za-z]", "", text)
    shouting = len(letters) > 8 and sum(map(str.isupper, letters)) > 0.8 * len(letters)
    if shouting:
        text = re.sub(r"\bTHE US\b", "the U-S", text)
    elif known is not None:
        text = _quieten(text, known)

    def said(match: re.Match[str]) -> str:
        word, tail = match[1], match[2] or ""
        is_word = _is_word(word, known)
        if word in _WORDS:
            return match[0]
        if shouting and (is_word or (known is not None and _looks_spoken(word))):
            return _lowered(word) + tail
        if "'" in word:
            stem, _, end = word.partition("'")
            return f"{'-'.join(stem)}'s" if end == "S" and not is_word and not _is_word(stem, known) else match[0]
        if word in _SPELT:
            return "-".join(word) + tail
        if is_word or (len(word) > 5 and re.search("[AEIOUY]", word)):
            return match[0]
        if known is not None and known(word):
            return match[0]
        return "-".join(word) + tail

    if shouting:
        text = re.sub(r"(?<!-)\bA\b(?!-)", "a", text)
    return _CAPS.sub(said, text)
