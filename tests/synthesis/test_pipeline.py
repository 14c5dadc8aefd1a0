"""The steps from segments to sound that all clients share, and the policy of repeated runs."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mamtra.errors import MamTraError
from mamtra.synthesis.batch import speak_texts
from mamtra.synthesis.pipeline import AudioChunk, Request, speak
from mamtra.synthesis.retries import AGAIN, ONCE, Retries, TokenRun, segment_seed
from mamtra.text.split import Segment
from mamtra.tts import TTS, Text
from tests.factories import tiny_voice


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
    assert request.seed_of(2, 1) == segment_seed(3, 2, 1)


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


class Run:
    """A run of the LM with known tokens."""

    def __init__(self, tokens, reason):
        self.tokens, self.finish_reason = tokens, reason

    def result(self):
        if self.finish_reason == "error":
            raise MamTraError("not finite")
        return self.tokens

    def cancel(self):
        pass


def test_batches_repeat_only_the_runs_that_failed(model, monkeypatch):
    asked = []

    def start(model, voice, ids, seed, engine):
        asked.append(len(ids))
        return Run([5] * 10, "length" if len(asked) <= 3 and len(ids) > 12 else "eos")

    monkeypatch.setattr("mamtra.synthesis.batch.start_run", start)
    texts = ["This is a sentence of seven words. Hello.", "Hello."]
    spoken = dict(speak_texts(model, tiny_voice(), texts, retries=AGAIN))
    short, long = (len(model.text.segments(text)[0].ids) for text in ("Hello.", texts[0]))
    assert asked == [long, short, short, long] and len(spoken[0]) > len(spoken[1]) > 0
    asked.clear()
    dict(speak_texts(model, tiny_voice(), texts))
    assert len(asked) == 3


@pytest.mark.parametrize(("ahead", "together"), [(0, 1), (3, 2), (50, 64)])
def test_a_batch_gives_its_texts_in_order_and_failed_ones_alone(model, monkeypatch, ahead, together):
    """What a GPU does with many segments at once, and what a CPU does one by one."""
    monkeypatch.setattr("mamtra.synthesis.batch.AHEAD", {"cpu": ahead})
    monkeypatch.setattr("mamtra.synthesis.batch.TOGETHER", {"cpu": together})
    tts, taken = TTS(model), []
    texts = [
        "Hello.",
        "Good morning. How are you?",
        " ",
        "Hi.",
        Text("Hello.", speed=2.0),
        Text("Hi.", speed=9.0),
        "Hello there.",
        5,
    ]
    found = list(tts.batch(taken.append(text) or text for text in texts))
    assert taken == texts and [isinstance(one, MamTraError) for one in found] == [
        text in (" ", texts[5], 5) for text in texts
    ]
    for text, one in zip(texts, found, strict=True):
        if isinstance(text, str) and text != " ":
            alone = tts.say(text)
            assert one.text == alone.text and one.tokens == alone.tokens and len(one.samples) == len(alone.samples)
            assert np.abs(one.samples - alone.samples).max() <= (1e-4 if together > 1 else 0)
    assert len(found[4].samples) < 0.7 * len(found[0].samples)
    calls = iter(range(100))
    monkeypatch.setattr(
        "mamtra.synthesis.batch.start_run", lambda *_: Run([5] * 10, "error" if next(calls) == 1 else "eos")
    )
    kinds = [isinstance(one, MamTraError) for one in tts.batch(["Hello."] * 4)]
    assert kinds == [False, True, False, False]


def test_threads_that_speak_at_once_do_not_change_the_samples(model):
    tts, texts = TTS(model), ["Hello there.", "Good morning. How are you?", "Hi.", "This is a sentence of seven words."]
    alone = [tts.say(text, seed=i).samples for i, text in enumerate(texts)]
    streamed = [[c.samples for c in tts.stream(text, seed=i)] for i, text in enumerate(texts)]
    with ThreadPoolExecutor(8) as pool:
        said = [pool.submit(lambda i=i, text=text: tts.say(text, seed=i).samples) for i, text in enumerate(texts)]
        heard = [
            pool.submit(lambda i=i, text=text: [c.samples for c in tts.stream(text, seed=i)])
            for i, text in enumerate(texts)
        ]
        assert all(np.array_equal(a, b.result()) for a, b in zip(alone, said, strict=True))
        for chunks, other in zip(streamed, heard, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(chunks, other.result(), strict=True))


def test_a_stream_that_is_left_frees_its_slot(model):
    tts = TTS(model)
    for _ in range(3):
        chunks = tts.stream("This is a sentence of seven words. " * 3)
        next(chunks)
        del chunks
    tts.say("Hello.")
    scheduler = model.engine._batcher.scheduler
    assert not scheduler.running and not scheduler.waiting


def test_a_text_has_options_of_the_right_types():
    for wrong in ({"text": 5}, {"text": "a", "seed": "x"}, {"text": "a", "speed": "fast"}):
        with pytest.raises(MamTraError, match="cannot be"):
            Text(**wrong)
