"""Distances of words from where they are heard."""

import pytest
from word_times import errors, figures

from mamtra.synthesis.word_times import Word


def words(*found):
    return [Word(text, start, start + 0.1) for text, start in found]


def test_words_that_agree_are_compared_but_for_the_first():
    ours = words(("Well, ", 0.0), ("Anna's ", 0.5), ("here ", 1.0), ("now.", 1.5))
    heard = words((" well", 0.2), (" Annas", 0.6), (" her", 1.0), (" now", 1.4))
    assert errors(ours, heard) == [-0.1, 0.1]


def test_figures():
    live = [{"live, attention": [0.1], "live, pace": [0.2]}, {"live, attention": [0.1], "live, pace": [0.4]}]
    rows = [{"attention": [0.1, -0.1], "interpolation": [0.3, 0.3]}, {"attention": [0.2], "interpolation": [0.3]}]
    rows = [row | more for row, more in zip(rows, live, strict=True)]
    found = figures(rows)
    assert found["words"] == 3 and found["attention"]["mean"] == pytest.approx(0.4 / 3)
    assert found["interpolation"]["median"] == found["interpolation"]["bias"] == 0.3
    less, low, high = found["difference"]
    assert low <= less <= high and less == pytest.approx(0.4 / 3 - 0.3)
    assert found["live_difference"][0] == pytest.approx(-0.2)
