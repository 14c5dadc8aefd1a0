"""The steps from segments to sound that all clients share, and the policy of repeated runs."""

from __future__ import annotations

import numpy as np
import pytest

from mamtra.errors import MamTraError
from mamtra.synthesis.batch import speak_texts
from mamtra.synthesis.open_model import open_model
from mamtra.synthesis.pipeline import AudioChunk, Request, speak
from mamtra.synthesis.retries import AGAIN, ONCE, Retries, TokenRun, segment_seed
from mamtra.text.split import Segment
from tests.factories import tiny_model, tiny_voice


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_model(tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def runs(*found):
    return iter([TokenRun(tokens, reason, attempt) for attempt, (tokens, reason) in enumerate(found)])


def test_the_first_run_that_ends_is_kept_and_no_other_is_asked_for():
    left = runs(([1] * 9, "length"), ([], "eos"), ([2] * 12, "eos"), ([3], "eos"))
    assert AGAIN.best(left) == TokenRun([2] * 12, "eos", 2) and next(left).attempt == 3


def test_of_runs_without_an_end_the_shortest_is_kept():
    assert AGAIN.best(runs(([1] * 9, "length"), ([2] * 7, "length"), ([3] * 7, "length"))).attempt == 1


def test_silence_is_an_error_or_left_out():
    with pytest.raises(MamTraError, match="no speech"):
        AGAIN.best(runs(([], "eos"), ([], "length")))
    assert ONCE.best(runs(([], "eos"))) is None


def test_when_no_further_run_follows():
    policy = Retries(attempts=2)
    assert policy.accepts(TokenRun([1], "eos", 0)) and policy.accepts(TokenRun([1], "length", 1))
    assert not policy.accepts(TokenRun([1], "length", 0)) and not policy.accepts(TokenRun([], "eos", 1))


def test_seeds_differ_by_segment_and_attempt(model):
    request = Request(model, tiny_voice(), seed=3)
    seeds = {request.seed_of(index, attempt) for index in range(5) for attempt in range(3)}
    assert len(seeds) == 15 and request.seed_of(0, 0) == 3
    assert request.generator(2, 1).initial_seed() == segment_seed(3, 2, 1)


def test_chunks_of_a_segment_carry_its_text_once_and_its_pause(model):
    sound = np.full(2400, 0.5, np.float32)

    def backend(request, ids, index):
        assert ids == [index]
        if index != 1:
            yield AudioChunk(sound, 3, "", 1)
            yield AudioChunk(sound, 4, "eos", 1)

    segments = [Segment(name, [number], 0.2) for number, name in enumerate("abc")]
    chunks = list(speak(Request(model, tiny_voice(), speed=2.0), segments, backend))
    assert [(chunk.text, chunk.tokens, chunk.finish_reason) for chunk in chunks] == [
        ("a", 3, ""),
        ("", 4, "eos"),
        ("c", 3, ""),
        ("", 4, "eos"),
    ]
    gap = round((0.2 / 2.0 - 0.08) * 24000)
    assert not chunks[0].samples[:gap].any() and chunks[0].samples[gap + 1 :].all()
    assert all(chunk.spent >= 0 for chunk in chunks)


def test_batches_repeat_only_the_runs_that_failed(model, monkeypatch):
    asked = []

    def generated(lm, ids, *prompt, shortest, longest, sampler):
        asked.append(list(map(len, ids)))
        first = len(asked) == 1
        return [TokenRun([5] * 10, "length" if first and len(text) > 12 else "eos", 0) for text in ids]

    monkeypatch.setattr("mamtra.synthesis.batch.generate_batch", generated)
    texts = ["This is a sentence of seven words. Hello.", "Hello."]
    spoken = dict(speak_texts(model, tiny_voice(), texts, retries=AGAIN))
    short, long = (len(model.text.segments(text)[0].ids) for text in ("Hello.", texts[0]))
    assert asked == [[short, short, long], [long]] and len(spoken[0]) > len(spoken[1]) > 0
    asked.clear()
    dict(speak_texts(model, tiny_voice(), texts))
    assert len(asked) == 1
