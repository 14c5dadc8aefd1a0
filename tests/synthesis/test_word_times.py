"""Times of words."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mamtra.synthesis.live_words import WordTimes
from mamtra.synthesis.spans import Span
from mamtra.synthesis.word_times import Word, phoneme_weights
from mamtra.tts import load
from tests.factories import tiny_model


def test_within_a_complete_sentence_by_weight():
    times = WordTimes(len)
    assert times.push("aa bbb c", 8.0, True) == [Word("aa ", 0, 3.0), Word("bbb ", 3.0, 7.0), Word("c", 7.0, 8.0)]
    assert times.push("", 1.0, False) == []  # a pause
    assert times.push("dd", 2.0, True) == [Word("dd", 9.0, 11.0)]


def test_words_come_while_the_sentence_is_spoken():
    times = WordTimes(lambda word: 10.0)
    first = times.push("a b c", 1.0, False)
    assert [word.text for word in first] == ["a "]
    rest = times.push("", 1.0, True)
    assert [word.text for word in rest] == ["b ", "c"] and rest[-1].end == 2.0


CHUNKS = st.lists(
    st.tuples(st.text("ab ., \n", max_size=20), st.floats(0, 3), st.booleans()), min_size=1, max_size=10
)  # fmt: skip


@given(CHUNKS)
def test_words_are_the_text_in_order_within_the_audio(chunks):
    times = WordTimes(lambda word: len(word) + 1.0)
    found = [word for chunk in chunks for word in times.push(*chunk)] + times.end()
    said = "".join(text for text, _, _ in chunks)
    assert "".join(word.text for word in found).split() == " ".join(text for text, _, _ in chunks).split() or "".join(
        word.text for word in found
    ).replace(" ", "").replace("\n", "") == said.replace(" ", "").replace("\n", "")
    total = sum(seconds for _, seconds, _ in chunks)
    assert all(0 <= word.start <= word.end <= total + 1e-6 for word in found)
    assert all(one.end <= two.start + 1e-9 for one, two in itertools.pairwise(found))


def test_words_are_told_where_the_model_is_in_the_text():
    """Three words of four text ids each: the first takes 2 s of the sound, the others 0.5 s each."""
    words, ids = "aaa bbb ccc", list(range(12))
    curve = np.array([[0, 2.0, 2.5, 3.0], [0, 4, 8, 12]])
    times = WordTimes(lambda word: 4.0)
    parts = [
        Span(words, 0.0, 1.2, 0.2, ids, np.array([[0.2, 1.2], [0, 2]])),
        Span("", 0.0, 1.1, curve=np.stack([curve[0] - 1.0, curve[1]])),  # the model is ahead of the sound
        Span("", 0.0, 0.9, curve=np.stack([curve[0] - 2.1, curve[1]])),
    ]
    assert times.push(words, 1.2, False, parts[:1]) == []
    assert times.push("", 1.1, False, parts[1:2]) == [Word("aaa ", 0.2, pytest.approx(2.2))]
    assert times.push("", 0.9, True, parts[2:]) == [
        Word("bbb ", pytest.approx(2.2), pytest.approx(2.7)),
        Word("ccc", pytest.approx(2.7), pytest.approx(3.2)),
    ]


@st.composite
def followed(draw):
    """Chunks of sentences whose place in the text is known up to each chunk's end, each time as it was seen then."""
    chunks = []
    for _ in range(draw(st.integers(1, 3))):
        words = draw(st.lists(st.sampled_from(["a ", "bbb ", "of, ", "- "]), min_size=1, max_size=6))
        ids, count = 4 * len(words), draw(st.integers(1, 4))
        for number in range(count):
            seconds = draw(st.floats(0.05, 2))
            read = ids if number + 1 == count else draw(st.integers(0, ids))
            places = sorted({0, *draw(st.lists(st.integers(0, read), max_size=4)), read})
            moments = sorted(draw(st.lists(st.floats(-2, 2), min_size=len(places), max_size=len(places))))
            span = Span("" if number else "".join(words), 0.0, seconds, 0.0, () if number else list(range(ids)),
                        np.array([moments, places]) if draw(st.booleans()) else None)  # fmt: skip
            chunks.append(("" if number else "".join(words), seconds, number + 1 == count, [span]))
    return chunks


@given(followed())
def test_times_never_go_back_and_every_word_is_told_once(chunks):
    times = WordTimes(lambda word: 4.0)
    found = [word for chunk in chunks for word in times.push(*chunk)] + times.end()
    assert "".join(word.text for word in found) == "".join(text for text, *_ in chunks)
    total = sum(seconds for _, seconds, *_ in chunks)
    assert all(0 <= word.start <= word.end <= total + 1e-6 for word in found)
    assert all(one.end <= two.start + 1e-9 for one, two in itertools.pairwise(found))


def test_weights_are_phonemes(tmp_path):
    weight = phoneme_weights(load(tiny_model(tmp_path / "model")).model.text)
    assert weight("morning ") > weight("a ") > weight(" - ") == 1.0
