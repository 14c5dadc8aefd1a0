"""Error counts against a plain recursion and hand-counted sentences."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import edit_distance
from mamtra.evaluate.error_rates import Errors, comparable, count_errors, english_normaliser


def plain_distance(one: str, two: str) -> int:
    @cache
    def least(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(least(i - 1, j) + 1, least(i, j - 1) + 1, least(i - 1, j - 1) + (one[i - 1] != two[j - 1]))

    return least(len(one), len(two))


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_edit_distance_is_the_least_number_of_changes(one, two):
    assert edit_distance(one, two) == plain_distance(one, two)


def test_texts_are_compared_without_signs_and_spelling_of_groups():
    assert comparable("The F B I, at 5 30: it’s “odd”!", str.lower) == "the fbi at 530 it's odd"


def test_counts_of_sentences_add_up():
    one = count_errors("The cat sat down.", "the bat sat", str.lower)
    assert one == Errors(word_errors=2, words=4, char_errors=6, chars=16)
    both = one + count_errors("Hello.", "hello", str.lower)
    assert both == Errors(2, 5, 6, 21) and both.wer == pytest.approx(40.0)
    assert count_errors("Hello.", "", str.lower).wer == 100.0


def test_a_missing_normaliser_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "whisper_normalizer.english", None)
    with pytest.raises(MamTraError, match=r"needs whisper-normalizer; pip install 'mamtra\[eval\]'"):
        english_normaliser()
