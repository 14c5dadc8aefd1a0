"""Endings added to a stem whose pronunciation is known, with the voicing that English gives them.

The sound rules are those of misaki's American English dictionary reader (hexgrad, Apache-2.0), which the training
speech followed: -s is s, ᵻz or z; -ed is t, ᵻd or d; a t between vowels is flapped (T) before -ed and -ing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mamtra.text.english.patterns import Pattern

Reader = Callable[[str], str | None]

_FLAP_AFTER = frozenset("AIOWYiuæɑəɛɪɹʊʌ")
_DOUBLED = Pattern(r"([bcdgklmnprstvxz])\1$")
_PLAIN_SUFFIXES = {"ly": "li", "ness": "nəs", "less": "ləs", "like": "lˌIk", "wise": "wˌIz", "ship": "ʃˌɪp"}


def add_s(stem: str) -> str:
    """Plural, third person or possessive of a stem in phonemes."""
    if stem[-1] in "ptkfθ":
        return stem + "s"
    return stem + ("ᵻz" if stem[-1] in "szʃʒʧʤ" else "z")


def add_ed(stem: str) -> str:
    """Past tense of a stem in phonemes."""
    if stem[-1] in "pkfθʃsʧ":
        return stem + "t"
    if stem[-1] == "d":
        return stem + "ᵻd"
    if stem[-1] != "t":
        return stem + "d"
    return stem[:-1] + "Tᵻd" if stem[-2:-1] in _FLAP_AFTER else stem + "ᵻd"


def add_ing(stem: str) -> str:
    """Present participle of a stem in phonemes."""
    if stem[-1] == "t" and stem[-2:-1] in _FLAP_AFTER:
        return stem[:-1] + "Tɪŋ"
    return stem + "ɪŋ"


def _s_stems(word: str) -> Iterator[str]:
    if not word.endswith("ss"):
        yield word[:-1]
    if word.endswith("'s") or (len(word) > 4 and word.endswith("es") and not word.endswith("ies")):
        yield word[:-2]
    if len(word) > 4 and word.endswith("ies"):
        yield word[:-3] + "y"


def _ed_stems(word: str) -> Iterator[str]:
    if not word.endswith("dd"):
        yield word[:-1]
    if len(word) > 4 and word.endswith("ed") and not word.endswith("eed"):
        yield word[:-2]
        if len(word) > 5 and _DOUBLED.search(word[:-2]):
            yield word[:-3]
        if word.endswith("ied"):
            yield word[:-3] + "y"


def _ing_stems(word: str) -> Iterator[str]:
    if len(word) > 5:
        yield word[:-3]
    yield word[:-3] + "e"
    if len(word) > 5 and (_DOUBLED.search(word[:-3]) or word.endswith("cking")):
        yield word[:-4]


def inflected(word: str, read: Reader) -> str | None:
    """Phonemes of a word that is a known stem with -s, -'s, -ed or -ing (or -ly, -ness ...), else None.

    Args:
        word: the written word.
        read: gives the phonemes of a known stem, or None.
    """
    attempts: list[tuple[Iterator[str], Callable[[str], str]]] = []
    if len(word) > 2 and word.endswith("s"):
        attempts.append((_s_stems(word), add_s))
    if len(word) > 3 and word.endswith("d"):
        attempts.append((_ed_stems(word), add_ed))
    if len(word) > 4 and word.endswith("ing"):
        attempts.append((_ing_stems(word), add_ing))
    for suffix, phonemes in _PLAIN_SUFFIXES.items():
        if word.endswith(suffix) and len(word) > len(suffix) + 2:
            attempts.append((iter((word[: -len(suffix)],)), lambda stem, tail=phonemes: stem + tail))
    for stems, build in attempts:
        for stem in stems:
            phonemes = read(stem) if len(stem) > 1 else None
            if phonemes:
                return build(phonemes)
    return None
