"""Times of words."""

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mamtra.serve.elevenlabs_words import Alignment, http_alignment, parse_format
from mamtra.serve.errors import ApiError
from mamtra.serve.word_times import Word, WordTimes, phoneme_weights
from mamtra.tts import load


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


def test_weights_are_phonemes(model_directory):
    weight = phoneme_weights(load(model_directory))
    assert weight("morning ") > weight("a ") > weight(" - ") == 1.0


def test_times_since_the_beginning_or_the_message_before():
    words = [Word("ab ", 0.0, 0.3), Word("c", 0.5, 1.0)]
    absolute, relative = Alignment(True), Alignment(False)
    for each in (absolute, relative):
        assert each.of([]) is None
        assert each.of(words[:1]) == {
            "chars": ["a", "b", " "],
            "charStartTimesMs": [0, 100, 200],
            "charDurationsMs": [100] * 3,
        }
    assert absolute.of(words[1:])["charStartTimesMs"] == [500]
    assert relative.of(words[1:])["charStartTimesMs"] == [200]
    assert http_alignment(words)["character_end_times_seconds"] == [0.1, 0.2, 0.3, 1.0]


def test_names_of_formats():
    assert parse_format("mp3_22050_32") == ("mp3", 22050)
    assert parse_format("pcm_16000") == ("pcm", 16000)
    for name in ("", "mp3", "pcm_x", "ogg_1_2", "pcm_99999999", "mp3_"):
        with pytest.raises(ApiError):
            parse_format(name)
