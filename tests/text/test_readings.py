"""Every reading of readings.tsv, as the front end of the embedded voice gives it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import mamtra
from mamtra.text.frontend import TextFrontend

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from text_readings import KINDS, Row, matches, read_rows

ROWS = read_rows()


@pytest.fixture(scope="module")
def front() -> TextFrontend:
    return TextFrontend.load(Path(mamtra.__path__[0]) / "assets" / "mini")


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.kind}-{place}" for place, row in enumerate(ROWS)])
def test_reading(front: TextFrontend, row: Row) -> None:
    parts = front.explain(row.written)
    text, phonemes = "\n".join(part.text for part in parts), " ".join(part.phonemes for part in parts)
    assert matches(row, text, phonemes), (row.written, text, phonemes)


def test_the_set_is_large_and_its_kinds_are_known() -> None:
    assert len(ROWS) >= 400 and {row.kind for row in ROWS} == set(KINDS)
    assert len({row.written for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("text", "phonemes", "right"),
    [("one, two", "", True), ("one two", "", False), ("one, too", "", False), ("one, two, three", "", False)],
)
def test_a_pause_is_due_where_the_reading_has_one(text: str, phonemes: str, right: bool) -> None:
    assert matches(Row("lines", "1\n2", ["one / two"], False), text, phonemes) is right


def test_letters_are_compared_where_spelling_is_left_to_others() -> None:
    row = Row("capitals", "USA", ["u s a"], False)
    assert matches(row, "USA", spelt=False) and not matches(row, "USA")


def test_phonemes_are_those_of_one_word() -> None:
    row = Row("heteronym", "lead pipe", ["lˈɛd"], True)
    assert matches(row, "lead pipe", "lˈɛd pˈIp") and not matches(row, "lead pipe", "lˈid pˈIp")
    assert not matches(row, "lead pipe")
