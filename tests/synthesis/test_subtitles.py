"""Subtitles: cut at sentences and lines, and in both forms."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mamtra.errors import MamTraError
from mamtra.synthesis.subtitles import save_subtitles, subtitles, to_text
from mamtra.synthesis.word_times import WORDS, Word

LONG = "nobody who had been there before, and there were many, believed a single word of what he said to them. "


def timed(text, each=0.25):
    return [Word(word, n * each, (n + 1) * each) for n, word in enumerate(WORDS.findall(text))]


def test_a_sentence_is_a_subtitle_and_a_long_one_is_cut_evenly():
    found = subtitles(timed("Good morning, Dr. Smith. Then " + LONG + "Really?"))
    assert [each.lines for each in found] == [
        ["Good morning, Dr. Smith."],
        ["Then nobody who had been", "there before, and there were"],
        ["many, believed a single word", "of what he said to them."],
        ["Really?"],
    ]
    assert (found[0].start, found[0].end) == (0, 1.0) and found[1].start == 1.0 and found[-1].end == 6.5


def test_both_forms():
    shown = subtitles([Word("a<b ", 0.0, 1.5), Word("& c.", 3661.0, 3661.0004)])
    assert to_text(shown[:1], "srt") == "1\n00:00:00,000 --> 00:00:01,500\na<b\n"
    assert to_text(shown, "vtt") == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.500\na&lt;b\n\n2\n01:01:01.000 --> 01:01:01.000\n&amp; c.\n"
    )
    assert to_text([], "srt") == "\n" and to_text([], "vtt") == "WEBVTT\n"


@given(st.lists(st.text("ab .,?!\n-", max_size=60), max_size=6).map(" ".join))
def test_all_words_are_shown_in_order_within_two_lines(text):
    words = timed(text)
    found = subtitles(words)
    assert " ".join(line for each in found for line in each.lines).split() == text.split()
    for each in found:
        assert 1 <= len(each.lines) <= 2 and each.start < each.end <= each.start + 7
        assert all(len(line) <= 42 or " " not in line for line in each.lines)
    assert re.findall(r"-->", to_text(found, "vtt")) == ["-->"] * len(found)


def test_where_it_cannot_be_written(tmp_path):
    save_subtitles(timed("One."), tmp_path / "a.srt", "srt")
    assert (tmp_path / "a.srt").read_text().endswith("\nOne.\n")
    with pytest.raises(MamTraError):
        save_subtitles(timed("One."), tmp_path / "nothing" / "a.srt", "srt")
