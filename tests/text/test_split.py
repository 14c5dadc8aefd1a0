from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.text.english.normalize import normalize
from mamtra.text.markup import Pause, parse_markup
from mamtra.text.split import PARAGRAPH_PAUSE, SENTENCE_PAUSE, Segment, cut_long, sentences, split_text


def test_sentences_keep_abbreviations_together() -> None:
    text = "Dr. Ames left at 5 p.m. on Monday. Did she return? No."
    assert sentences(text) == ["Dr. Ames left at 5 p.m. on Monday.", "Did she return?", "No."]


def test_natural_pauses() -> None:
    segments = split_text("One cat. Two cats.\n\nThree cats.", normalize)
    assert segments == [
        Segment("One cat.", 0.0),
        Segment("Two cats.", SENTENCE_PAUSE),
        Segment("Three cats.", PARAGRAPH_PAUSE),
    ]


def test_asked_pauses_replace_natural_ones() -> None:
    segments = split_text("Wait. [pause:1.5s] Go. [PAUSE: 500ms]Stop.", normalize)
    assert [s.pause_before for s in segments] == [0.0, 1.5, 0.5]
    assert [s.text for s in segments] == ["Wait.", "Go.", "Stop."]


def test_pauses_in_a_row_add_up() -> None:
    assert split_text("Hi [pause:1s][pause:2s] there", normalize)[1].pause_before == 3.0


@pytest.mark.parametrize("time", ["", ":2", ":-1s", ":fast", ":10.5s", ":11000ms"])
def test_bad_pauses(time: str) -> None:
    with pytest.raises(MamTraError, match="pause"):
        parse_markup(f"a [pause{time}] b")


def test_markup_order() -> None:
    assert parse_markup("a [pause:1s] b") == ["a ", Pause(1.0), " b"]


def test_ornaments_are_silent() -> None:
    assert [s.text for s in split_text("One.\n\n* * *\n\nTwo.", normalize)] == ["One.", "Two."]


@pytest.mark.parametrize("text", ["", "\n\n", "* * *", "[pause:1s]"])
def test_nothing_to_say(text: str) -> None:
    with pytest.raises(MamTraError, match="nothing to say"):
        split_text(text, normalize)


def test_long_sentences_are_cut_at_clauses() -> None:
    text = "The river rose in the night, and the boats that lay along the quay pulled at their ropes; nobody slept."
    pieces = cut_long(text, 60)
    assert " ".join(pieces) == text
    assert all(len(piece) <= 60 for piece in pieces)
    assert pieces[0].endswith(",")


@settings(max_examples=100, deadline=None)
@given(st.text("abc ,;—", max_size=200), st.integers(5, 50))
def test_cutting_keeps_every_letter(text: str, limit: int) -> None:
    pieces = cut_long(text, limit)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(0 < len(piece) <= limit for piece in pieces)
