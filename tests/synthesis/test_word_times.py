"""Times of words."""

import itertools

import hypothesis.strategies as st
from hypothesis import given

from mamtra.synthesis.word_times import Word, WordTimes, phoneme_weights
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


def test_weights_are_phonemes(tmp_path):
    weight = phoneme_weights(load(tiny_model(tmp_path / "model")).model.text)
    assert weight("morning ") > weight("a ") > weight(" - ") == 1.0
