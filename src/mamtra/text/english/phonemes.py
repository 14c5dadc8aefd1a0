"""The phoneme alphabet (one Unicode character a phoneme) and arithmetic on stress marks.

The symbols are those of the misaki/Kokoro convention: capital letters are diphthongs (A = eɪ, I = aɪ, O = oʊ, W = aʊ,
Y = ɔɪ), ``ᵊ`` and ``ᵻ`` are reduced vowels, ``T`` is a flapped t, and a stress mark stands right before its vowel.
"""

from __future__ import annotations

PRIMARY = "ˈ"
SECONDARY = "ˌ"

# Position in this string plus one is the id that models were trained with, so symbols may only be appended.
ALPHABET = (
    ';:,.!?—…"()“” \u0303ʣʥʦʨᵝꭧAIOQSTWYᵊabcdefhijklmnopqrstuvwxyzɑɐɒæβɔɕçɖðʤəɚɛɜɟɡɥɨɪʝɯɰŋɳɲɴøɸθœɹɾɻʁɽʂʃʈʧʊʋʌ'
    "ɣɤχʎʒʔˈˌːʰʲ↓→↗↘ᵻ"
)

VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ")
"""Symbols that may carry stress; ``ᵊ`` and ``ɐ`` never do."""

CONSONANTS = frozenset("bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ")
PUNCTUATION = frozenset(';:,.!?—…"()“”')
PAUSES = frozenset(";:,.!?—…")
"""Punctuation at which a speaker may stop, so that the word before it takes its full form."""
_FEW_SOUNDS = 3


def phoneme_ids() -> dict[str, int]:
    """Id of each symbol: its place in `ALPHABET` counted from 1; id 0 is padding."""
    return {symbol: number for number, symbol in enumerate(ALPHABET, start=1)}


def has_stress(phonemes: str) -> bool:
    """Whether the string carries a primary or a secondary mark."""
    return PRIMARY in phonemes or SECONDARY in phonemes


def without_stress(phonemes: str) -> str:
    """The same phonemes with no stress mark."""
    return phonemes.replace(PRIMARY, "").replace(SECONDARY, "")


def demote(phonemes: str) -> str:
    """Primary stress becomes secondary, and secondary stress goes, as in the weaker part of a compound."""
    if PRIMARY not in phonemes:
        return phonemes
    return phonemes.replace(SECONDARY, "").replace(PRIMARY, SECONDARY)


def with_stress(phonemes: str, mark: str) -> str:
    """Put `mark` before the first vowel of a string that has no stress; other strings come back unchanged."""
    if has_stress(phonemes):
        return phonemes
    for place, symbol in enumerate(phonemes):
        if symbol in VOWELS:
            return phonemes[:place] + mark + phonemes[place:]
    return phonemes


def emphasised(phonemes: str) -> str:
    """Give a word a primary stress: raise its secondary one, or mark its first vowel if it has none."""
    if PRIMARY in phonemes:
        return phonemes
    if SECONDARY in phonemes:
        return phonemes.replace(SECONDARY, PRIMARY)
    return with_stress(phonemes, PRIMARY)


def close_short(phonemes: str) -> str:
    """An utterance of one to three sounds without a mark at its end, such as "Oh", gets a full stop.

    A language model has seen such an utterance on its own with a mark only, and otherwise goes on with other words.
    """
    sounds = [symbol for symbol in without_stress(phonemes) if symbol not in PUNCTUATION]
    closed = not PAUSES.isdisjoint(phonemes)
    return phonemes if closed or not 0 < len(sounds) <= _FEW_SOUNDS else phonemes + "."
