"""Time grows with the text, not with its square, and memory does not grow with what was read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import mamtra
from mamtra.text.english.lexicon import LONGEST_WORD, Lexicon
from mamtra.text.english.normalize import normalize
from mamtra.text.frontend import TextFrontend

ASSETS = Path(mamtra.__path__[0]) / "assets" / "mini"

HARD = {
    "digits": lambda n: "9" * n,
    "decimals": lambda n: "3." + "1" * n,
    "dotted": lambda n: "1." * (n // 2) + "1",
    "initials": lambda n: "A. B. C. " * (n // 9),
    "capitals": lambda n: "QXZ BCD " * (n // 8),
    "word": lambda n: "ab" * (n // 2),
    "slashes": lambda n: "/" * n + "a",
    "quotes": lambda n: "'a " * (n // 3),
    "stars": lambda n: "*a " * (n // 3),
    "angles": lambda n: "<a " * (n // 3),
    "brackets": lambda n: "[a](" * (n // 4),
    "dollars": lambda n: "$5 " * (n // 3),
    "hashes": lambda n: "a1b2c3d4 " * (n // 9),
    "ranges": lambda n: "1-2, " * (n // 5),
    "mail": lambda n: "a.b@" * (n // 4),
    "lines": lambda n: "word\n" * (n // 5),
    "entities": lambda n: "&amp" * (n // 4),
    "plain": lambda n: "the small dog ran on and " * (n // 25),
}


def seconds(text: str) -> float:
    begun = time.process_time()
    normalize(text, lambda word: len(word) > 2)
    return time.process_time() - begun


@pytest.mark.parametrize("kind", HARD)
def test_normalising_is_linear(kind: str) -> None:
    seconds(HARD[kind](400))  # patterns are compiled
    short = min(seconds(HARD[kind](4_000)) for _ in range(2))
    long = min(seconds(HARD[kind](32_000)) for _ in range(2))
    assert long < 24 * short + 0.05, (short, long)


def test_long_numbers_are_read_digit_by_digit() -> None:
    assert normalize("7" * 1000).split() == ["seven"] * 1000
    assert normalize("1" * 5000 + " dogs").split()[-2:] == ["one", "dogs"]
    assert normalize("12345678901234567890").startswith("one two three four")


def test_the_lexicon_stays_small() -> None:
    lexicon = Lexicon.load(ASSETS / "lexicon.txt.xz")
    for number in range(40_000):
        lexicon.exact(f"word{number}")
    assert lexicon._cached.cache_info().currsize <= 16_384
    assert lexicon.exact("a" * (LONGEST_WORD + 1)) is None


def test_a_long_word_is_read_in_bounded_time() -> None:
    front = TextFrontend.load(ASSETS)
    begun = time.process_time()
    front.segments("ba" * 10_000)
    assert time.process_time() - begun < 20
