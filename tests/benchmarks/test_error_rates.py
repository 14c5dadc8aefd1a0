import numpy as np
import pytest
from error_rates import count, difference, edit_distance, mean, rate, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The F B I called.", "the fbi called"),
        ("at 5 30, room 1 2 3", "at 530 room 123"),
        ("it’s well-known", "it's well known"),
        ("a b or c", "ab or c"),
        ("$5 & café", "5 caf"),
        ("", ""),
    ],
)
def test_spelt_letters_and_digits_are_joined(text, expected):
    assert words(text, str.lower) == expected


def test_the_normaliser_sees_plain_apostrophes():
    seen = []
    words("don’t", lambda text: seen.append(text) or text)
    assert seen == ["don't"]


def test_whispers_normaliser_makes_spellings_equal():
    english = pytest.importorskip("whisper_normalizer.english").EnglishTextNormalizer()
    assert words("It costs twenty five dollars, F. B. I.", english) == words("it costs $25 FBI", english)


@pytest.mark.parametrize(
    ("one", "two", "errors"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("ab", "ba", 2)]
)
def test_edit_distance(one, two, errors):
    assert edit_distance(one, two) == errors


def test_counts_are_summed_over_the_list_before_they_are_divided():
    counts = count(["a", "b c d"], ["x", "b c d"])
    wer, (low, high) = rate(counts["word_errors"], counts["words"])
    assert wer == 25.0 and low == 0.0 and high == 100.0
    assert counts["char_errors"].tolist() == [1, 0] and counts["chars"].tolist() == [1, 5]


def test_intervals_are_the_same_each_time_and_hold_the_value():
    errors, lengths = np.arange(40) % 3, np.full(40, 10)
    value, (low, high) = rate(errors, lengths)
    assert rate(errors, lengths) == (value, [low, high])
    assert low < value < high
    center, (low, high) = mean(errors / 2.0)
    assert low < center < high


def test_a_paired_difference_is_surer_than_two_intervals():
    lengths = np.full(50, 10)
    hard = np.arange(50) % 5
    value, (low, high) = difference(hard + 1, hard, lengths)
    assert (value, low, high) == (10.0, 10.0, 10.0)
