"""Words of a sound: by weight in time, or along a curve of what is read when."""

import numpy as np
import pytest

from mamtra.synthesis.audio import Audio
from mamtra.synthesis.pipeline import AudioChunk, Request, in_samples, speak
from mamtra.synthesis.spans import Span, words_of
from mamtra.synthesis.word_times import Word
from mamtra.text.split import Segment
from tests.factories import tiny_voice


def test_words_are_placed_by_weight_after_the_pause():
    spans = [
        Span("aa ", 0.0, 1.0, 0.2, [7] * 5),
        Span("b cc. ", 1.0, 1.0, 0.5, [7] * 3),
        Span("", 2.0, 1.0),
        Span("d", 3.0, 1.0, 0.0, [7] * 2),
    ]
    found = words_of(spans, lambda word: len(word.strip()))
    assert found == [
        Word("aa ", 0.2, 1.0),
        Word("b ", 1.5, pytest.approx(1.875)),
        Word("cc. ", pytest.approx(1.875), 3.0),
        Word("d", 3.0, 4.0),
    ]


def test_words_follow_the_curve_over_the_segments_of_a_sentence():
    first = Span("a b c d", 1.0, 1.0, 0.1, [7] * 4, np.array([[-0.1, 0.2, 0.8], [0, 0, 4]]))
    second = Span("", 2.0, 1.0, 0.1, [7] * 4, np.array([[0.1, 0.5, 1.2], [0, 2, 4]]))
    found = words_of([first, second], lambda word: 1.0)
    moments = [1.1, 1.5, 2.1, 2.5, 3.0]
    assert [word.start for word in found] == pytest.approx(moments[:-1], abs=1e-3) and found[-1].end == 3.0
    assert words_of([first, second._replace(curve=None)], lambda word: 1.0)[1].start == pytest.approx(1.1 + 1.9 / 4)
    assert words_of([], len) == [] and words_of([first._replace(written="")], len) == []


def test_words_begin_after_spaces():
    """Seven tokens of which the fourth is the space, on which a pause is spent."""
    curve = np.array([[0.0, 0.3, 0.4, 1.2, 1.3, 1.6], [0, 2, 3, 4, 5, 7]])
    span = Span("aaa b", 0.0, 1.6, 0.0, [5, 5, 5, 9, 5, 5, 5], curve)
    assert words_of([span], lambda word: 1.0, 9)[1].start == pytest.approx(1.2)
    assert words_of([span], lambda word: 1.0)[1].start == pytest.approx(0.8)
    number = span._replace(written="aaa 1 2 b", ids=[5, 9, 5, 9, 5, 9, 5])
    assert [word.start for word in words_of([number], lambda word: 1.0, 9)] == pytest.approx([0, 0.3, 1.2, 1.45])
    evenly = words_of([span._replace(curve=None)], lambda word: 1.0, 9)
    assert evenly[1].start == pytest.approx(1.6 * 4 / 7)
    fewer = span._replace(written="a b c", ids=[5, 5, 9, 5, 5, 5, 5])
    assert [word.start for word in words_of([fewer], lambda word: 1.0, 9)] == pytest.approx([0, 0.4, 0.4])


def test_sound_before_the_first_text_says_nothing():
    assert words_of([Span("", 0.0, 1.0), Span("a", 1.0, 1.0)], len) == [Word("a", 1.0, 2.0)]


class Model:
    """What speaking asks for."""

    sample_rate = 24000

    class generation:
        like_original = False


def test_a_spoken_segment_knows_its_pause_and_when_its_tokens_sound():
    """Four tokens of 100 ms, of which the first two are silence, after a pause."""
    sound = np.concatenate([np.zeros(4800), np.full(4800, 0.5)]).astype(np.float32)
    segments = [Segment("one two", [1, 2, 3, 4], 0.48, "One two. ")]
    speed = 2.0

    def backend(request, ids, index):
        yield AudioChunk(sound, 4, "eos", 1, read=in_samples(np.array([[0, 2, 3, 4], [0, 1, 3, 4]]), 2400))

    (chunk,) = speak(Request(Model, tiny_voice(), speed=speed), segments, backend)
    pause = 0.48 / speed - 0.08
    assert chunk.span.written == "One two. " and chunk.span.pause == pytest.approx(pause)
    begin = pause - (0.2 - 0.04)
    assert chunk.span.curve[0] == pytest.approx(begin + 0.1 * np.array([0, 2, 3, 4]))
    assert chunk.span.curve[1].tolist() == [0, 1, 3, 4]
    assert chunk.span.seconds == pytest.approx(pause + 0.04 + 0.2)


def test_joined_audio_has_the_words_of_its_chunks():
    samples = np.zeros(24000, np.float32)
    parts = [Audio(samples, 24000, "", 0, "", 1, "eos", 0, 0, 0, (Span(text, 0.0, 1.0),)) for text in ("a ", "b")]
    assert words_of(Audio.joined(parts).spans, len) == [Word("a ", 0.0, 1.0), Word("b", 1.0, 2.0)]
