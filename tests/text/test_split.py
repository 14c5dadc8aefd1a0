from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.text.english.normalize import normalize
from mamtra.text.incremental import sentences
from mamtra.text.markup import Pause, parse_markup
from mamtra.text.split import (
    CLAUSE_PAUSE,
    PARAGRAPH_PAUSE,
    SENTENCE_PAUSE,
    Reading,
    Segment,
    Splitter,
    cut_long,
    paragraphs,
    read_pieces,
    split_text,
)


class Letters(Splitter):
    """A front end whose ids are the characters."""

    def arriving(self, parts):
        return split_text(sentences(parts), self.read)

    def read(self, text):
        try:
            said = normalize(text)
        except MamTraError:
            return ()
        return read_pieces(said, 250, lambda piece: Reading([ord(c) for c in piece], range(1, len(piece) + 1)))


def split(text: str) -> list[tuple[str, float]]:
    return [(segment.text, segment.pause_before) for segment in Letters().segments(text)]


def test_segments_carry_their_ids() -> None:
    assert Letters().segments("One cat.") == [Segment("One cat.", [ord(c) for c in "One cat."], 0.0, "One cat.")]


def test_natural_pauses() -> None:
    assert split("One cat. Two cats.\n\nThree cats.\nFour cats.") == [
        ("One cat.", 0.0),
        ("Two cats.", SENTENCE_PAUSE),
        ("Three cats.", PARAGRAPH_PAUSE),
        ("Four cats.", SENTENCE_PAUSE),
    ]
    long = split("and the small dog ran, " * 20)
    assert [pause for _, pause in long] == [0.0] + [CLAUSE_PAUSE] * (len(long) - 1)


def test_asked_pauses_replace_natural_ones() -> None:
    segments = split("Wait. [pause:1.5s] Go. [PAUSE: 500ms]Stop.")
    assert segments == [("Wait.", 0.0), ("Go.", 1.5), ("Stop.", 0.5)]


def test_pauses_in_a_row_add_up() -> None:
    assert split("Hi [pause:1s][pause:2s] there")[1][1] == 3.0
    assert split("Hi. [pause:1s]\n\n[pause:2s] * * *\n\nThere")[1][1] == 3.0


@pytest.mark.parametrize("time", ["", ":2", ":-1s", ":fast", ":10.5s", ":11000ms"])
def test_bad_pauses(time: str) -> None:
    with pytest.raises(MamTraError, match="pause"):
        parse_markup(f"a [pause{time}] b")


def test_markup_order() -> None:
    assert parse_markup("a [pause:1s] b") == ["a ", Pause(1.0), " b"]


def test_ornaments_are_silent() -> None:
    assert split("***\n\nOne.\n\n* * *\n\nTwo.") == [("One.", 0.0), ("Two.", PARAGRAPH_PAUSE)]


@pytest.mark.parametrize("text", ["", "\n\n", "* * *", "[pause:1s]"])
def test_nothing_to_say(text: str) -> None:
    with pytest.raises(MamTraError, match="nothing to say"):
        split(text)


def test_paragraphs_of_whole_sentences() -> None:
    assert list(paragraphs("One. Two.\n\nThree. Four.")) == ["One. Two.", "\n\nThree. Four."]
    assert list(paragraphs("One. Two. Three.", most=10)) == ["One. Two.", " Three."]


def test_long_sentences_are_cut_at_clauses() -> None:
    text = "The river rose in the night, and the boats that lay along the quay pulled at their ropes; nobody slept."
    pieces = cut_long(text, 60)
    assert " ".join(pieces) == text
    assert all(len(piece) <= 60 for piece in pieces)
    assert pieces[0].endswith(",")


@settings(max_examples=100)
@given(st.text("abc ,;—", max_size=200), st.integers(5, 50))
def test_cutting_keeps_every_letter(text: str, limit: int) -> None:
    pieces = cut_long(text, limit)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(0 < len(piece) <= limit for piece in pieces)


def test_a_letter_longer_than_the_limit_is_kept() -> None:
    assert cut_long("ab", 2, [1, 1, 1, 2, 2, 2]) == ["a", "b"]


def test_segments_carry_the_text_as_it_was_written() -> None:
    text = "* * *\nOn the 3rd. [pause:1s] Well, " + "and the small dog ran, " * 20 + "home."
    written = [segment.written for segment in Letters().segments(text)]
    assert "".join(written).split() == text.replace("[pause:1s]", "").split()
    assert written[0] == "* * *\nOn the 3rd." and written.count("") == len(written) - 2
