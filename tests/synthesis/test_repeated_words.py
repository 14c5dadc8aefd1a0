"""Repeated runs read a text whose repeated words are set apart, and say all of it."""

import numpy as np
import pytest

import mamtra
from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.repeated_words import set_apart
from mamtra.synthesis.retries import segment_seed
from mamtra.synthesis.sentence import best_run, generate_tokens, whole_segment

MARKS = (12, 13, 14)


@pytest.fixture(scope="module")
def tts():
    return mamtra.load()


def ids_of(tts, text):
    [segment] = tts.model.text.segments(text)
    return segment.ids


def test_words_that_come_again_have_quotation_marks():
    read = set_apart([20, 21, 22, 3, 14, 20, 21, 22, 14, 30, 31, 14, 30, 31, 14, 20, 21, 22, 4], MARKS)
    expected = [12, 20, 21, 22, 13, 3, 14, 12, 20, 21, 22, 13, 14, 30, 31, 14, 30, 31, 14, 12, 20, 21, 22, 13, 4]
    assert read.ids == expected


@pytest.mark.parametrize(
    "text",
    [
        "It rained and rained and rained all night.",
        "No, no, no: that is not it.",
        "A plain one.",
        'Well... well, "well"!',
    ],
)
def test_all_ids_of_the_text_stay_in_their_order(tts, text):
    ids = ids_of(tts, text)
    read = set_apart(ids, MARKS)
    assert [read.ids[place] for place in read.own] == ids
    others = [each for place, each in enumerate(read.ids) if place not in set(read.own)]
    assert others == [12, 13] * (len(others) // 2)


def test_the_first_run_reads_the_text_as_it_is(tts):
    request, ids = Request(tts.model, tts.voice()), ids_of(tts, "It rained and rained all night.")
    read = [request.reading(ids, attempt).ids for attempt in range(3)]
    assert read[0] is ids and read[1] == read[2] == set_apart(ids, MARKS).ids != ids
    arriving = iter(ids)
    assert request.reading(arriving, 1).ids is arriving


def test_a_model_without_such_marks_reads_the_text_as_it_is(tts, monkeypatch):
    ids = ids_of(tts, "It rained and rained all night.")
    monkeypatch.setattr(tts.model, "generation", tts.model.generation.model_copy(update={"apart": None}))
    assert Request(tts.model, tts.voice()).reading(ids, 1).ids is ids


def test_a_repeated_run_is_that_of_the_text_set_apart(tts):
    text, seed = "It rained and rained and rained all night.", 0
    ids, request = ids_of(tts, text), Request(tts.model, tts.voice(), seed)
    kept = best_run(request, ids, 0)
    read = set_apart(ids, MARKS)
    expected, _ = generate_tokens(tts.model, tts.voice(), list(read.ids), segment_seed(seed, 0, 1))
    assert kept.attempt == 1 and kept.tokens == expected and not kept.misread
    assert kept.read[1, -1] == len(ids)
    [one], [two] = (list(whole_segment(request, ids, 0)) for _ in range(2))
    np.testing.assert_array_equal(one.samples, two.samples)
