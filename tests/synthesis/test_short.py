"""Utterances of one sound, spoken by the embedded voice: they end on their own, and are not a scrap."""

import pytest

import mamtra
from mamtra.synthesis.retries import segment_seed
from mamtra.synthesis.sentence import generate_tokens

SHORT = "A I E O Oh Aw Uh Ah Eye Er Hm Mm Eh Ow Oi Ooh Are H X 1 8 Oh! III"


@pytest.fixture(scope="module")
def tts():
    return mamtra.load()


@pytest.mark.parametrize(("seed", "text"), enumerate(SHORT.split()))
def test_an_utterance_of_one_sound_ends(tts, seed, text):
    [segment] = tts.model.text.segments(text)
    tokens, reason = generate_tokens(tts.model, tts.voice(), segment.ids, segment_seed(seed % 2, 0))
    assert reason == "eos" and 8 <= len(tokens) <= 18


def test_a_chapter_headed_by_a_letter_is_not_cut_off(tts):
    spoken = list(tts.stream("I\n\nIt was late.", seed=0))
    assert [chunk.finish_reason for chunk in spoken if chunk.finish_reason] == ["eos", "eos"]
