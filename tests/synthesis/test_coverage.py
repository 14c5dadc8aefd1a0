"""Runs that leave words out or say them twice are recognised by where the LM was in the text, and repeated."""

import itertools

import numpy as np
import pytest
import torch

import mamtra
from mamtra.engine.alignment import text_attention
from mamtra.models.layout import prompt
from mamtra.synthesis.coverage import Coverage, attention_of, count_said_twice, longest_left_out, misread, read_by
from mamtra.synthesis.pipeline import Request, speak
from mamtra.synthesis.retries import AGAIN, ONCE, Retries, TokenRun
from mamtra.synthesis.sentence import whole_segment
from tests.factories import tiny_voice

LIST = "It rained and rained and rained all night."


@pytest.fixture(scope="module")
def tts():
    return mamtra.load()


def along(*places, ids=12):
    """Attention of a head that is at one place at each token."""
    return np.eye(ids, dtype=np.float32)[list(places)]


def test_ids_left_out():
    assert longest_left_out(along(*range(12))) == 0
    assert longest_left_out(along(0, 1, 2, 7, 8, 9, 11)) == 4
    assert longest_left_out(along(0, 1, 2, 3)) == 8
    assert longest_left_out(along(*range(12)) * 0.25) == pytest.approx(6)


def test_a_run_that_is_too_short():
    pace = (1.5, -3.0)  # 12 ids take 15 tokens; a run may have 13
    assert misread(along(*range(12)), pace) == 12 - 15 / 1.5 and misread(along(*range(12), 11), pace) == 0
    assert misread(along(*range(12)), pace, ended=False) == misread(along(*range(12))) == 0
    assert Coverage.of(along(*range(12)), pace).misread == 2 and Coverage.of(None, pace).misread == 0


def test_ids_said_twice():
    assert count_said_twice(along(*range(12), 11, 11)) == 0
    assert count_said_twice(along(0, 1, 5, 6, 2, 3, 4, 5, 6, 7)) == 2
    assert count_said_twice(along(*range(8), *range(2, 12))) == 6


def test_the_attention_is_that_of_the_pass_over_the_whole_sequence(tts):
    lm, before, speech, text, run = tts.model.lm, [5, 6], [1, 2, 3], [7, 8, 9, 10], [4, 5]
    found = text_attention(lm, (13, 2), text, run, before, speech)
    kind, ids = prompt(torch.tensor(before + text), torch.tensor(speech + run))
    caught = []
    mixer = lm.model.layers[13].mixer
    hook = mixer.register_forward_pre_hook(lambda _, given: caught.append(given))
    with torch.inference_mode():
        lm(lm.embed(kind, ids))
        q, k, _ = mixer._project(*caught[0][:2], joint=False)
    hook.remove()
    scores = (q[0, 2] @ k[0, 0].T) / 8
    for row, place in enumerate(
        (10, 11)
    ):  # the prompt's last token, from which the first one is drawn, and the first one
        expected = scores[place, : place + 1].softmax(0)[3:7]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-6)


def test_a_run_that_leaves_an_item_out_is_repeated(tts):
    [segment] = tts.model.text.segments(LIST)
    for seed in range(12):  # the first run of some seeds leaves out "and rained"
        [kept] = whole_segment(Request(tts.model, tts.voice(), seed), segment.ids, 0)
        if kept.attempts > 1:
            break
    [first] = whole_segment(Request(tts.model, tts.voice(), seed, retries=ONCE), segment.ids, 0)
    assert kept.attempts > 1 == first.attempts and kept.tokens > first.tokens + 5


def test_a_plain_sentence_is_not_repeated(tts):
    segments = tts.model.text.segments("The old lighthouse keeper climbed the winding stairs every evening.")
    assert [chunk.attempts for chunk in speak(Request(tts.model, tts.voice()), segments, whole_segment)] == [1]


def test_a_model_without_such_a_head_is_not_checked(tts, monkeypatch):
    plain = tts.model.generation.model_copy(update={"alignment_head": None})
    assert misread(attention_of(tts.model, tts.voice(), [5] * 20, [1])) > 0
    monkeypatch.setattr(tts.model, "generation", plain)
    assert attention_of(tts.model, tts.voice(), [5] * 20, [1]) is None
    monkeypatch.setattr(tts.model, "generation", plain.model_copy(update={"alignment_head": (0, 0)}))
    assert attention_of(tts.model, tts.voice(), [5] * 20, [1]) is None  # a Mamba layer
    assert Request(tts.model, tiny_voice()).attention(iter([5]), [1]) is None and misread(None) == 0


def test_the_run_that_misreads_least_is_kept():
    runs = [TokenRun([1], "length", 0), TokenRun([1, 2], "eos", 1, 9.0), TokenRun([3], "eos", 2, 4.0)]
    assert AGAIN.best(iter(runs)) is runs[2]
    assert AGAIN.best(iter([*runs, TokenRun([4], "eos", 3)])).attempt == 3
    assert not Retries().accepts(runs[1]) and Retries(attempts=2).accepts(runs[1])


def naive_path(attention):
    """Of all paths that never go back the one with most attention."""
    paths = itertools.combinations_with_replacement(range(attention.shape[1]), len(attention))
    return max(paths, key=lambda path: sum(np.log(attention[t, place] + 1e-4) for t, place in enumerate(path)))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_read_when_is_the_best_path_that_never_goes_back(seed):
    attention = np.random.default_rng(seed).dirichlet(np.full(4, 0.3), size=7).astype(np.float32)
    path = naive_path(attention)
    first = [t for t in range(1, 7) if path[t] > path[t - 1]]
    assert read_by(attention).tolist() == [[0, *first, 7], [0, *(path[t] for t in first), 4]]


def test_a_spoken_sentence_tells_how_much_is_read_when(tts):
    [segment] = tts.model.text.segments("The old lighthouse keeper climbed the winding stairs every evening.")
    [chunk] = speak(Request(tts.model, tts.voice()), [segment], whole_segment)
    moments, read = chunk.span.curve
    assert read[0] == 0 and read[-1] == len(segment.ids) and chunk.span.ids == segment.ids and (np.diff(read) > 0).all()
    assert (np.diff(moments) > 0).all() and len(read) > 0.6 * len(segment.ids)
    assert moments[0] <= 0 and moments[-1] > chunk.span.seconds - 0.1
