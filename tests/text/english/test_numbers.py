from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamtra.text.english import numbers


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (305, "three hundred five"),
        (1001, "one thousand one"),
        (2_000_000, "two million"),
        (48_208, "forty eight thousand two hundred eight"),
        (-7, "negative seven"),
    ],
)
def test_cardinal(number: int, words: str) -> None:
    assert numbers.cardinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"), [(1, "first"), (12, "twelfth"), (20, "twentieth"), (53, "fifty third"), (100, "one hundredth")]
)
def test_ordinal(number: int, words: str) -> None:
    assert numbers.ordinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1905, "nineteen oh five"),
        (1800, "eighteen hundred"),
        (2000, "two thousand"),
        (2007, "two thousand seven"),
        (2024, "twenty twenty four"),
        (1066, "ten sixty six"),
    ],
)
def test_year(number: int, words: str) -> None:
    assert numbers.year(number) == words


def test_decimals_and_fractions() -> None:
    assert numbers.decimal("1,234.05") == "one thousand two hundred thirty four point zero five"
    assert numbers.decimal(".5") == "point five"
    assert numbers.fraction(1, 2) == "one half"
    assert numbers.fraction(3, 4) == "three quarters"
    assert numbers.fraction(5, 16) == "five sixteenths"
    assert numbers.fraction(7, 90) == "seven over ninety"


@given(st.integers(0, 10**21))
def test_cardinals_are_words(number: int) -> None:
    assert all(word.isalpha() for word in numbers.cardinal(number).split())


@given(st.integers(1, 3999))
def test_roman_numerals_return(number: int) -> None:
    assert numbers.from_roman(numbers._to_roman(number)) == number


@pytest.mark.parametrize("text", ["IIII", "VX", "IC", "", "ABC", "MMMM"])
def test_malformed_roman_numerals(text: str) -> None:
    assert numbers.from_roman(text) is None
