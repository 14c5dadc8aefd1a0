"""What front processes ask of the process with the model, over sockets within this one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from mamtra.errors import MamTraError
from mamtra.serve.admission import Admission
from mamtra.serve.desk import Desk
from mamtra.serve.errors import ApiError
from mamtra.serve.front_speaker import FrontAdmission, FrontMetrics
from mamtra.serve.keys import Key
from mamtra.serve.link import Link
from mamtra.serve.loops import call_in
from mamtra.serve.metrics import Metrics, Spoken
from mamtra.serve.model_client import ModelClient
from mamtra.serve.voice_messages import KEPT
from mamtra.synthesis.pipeline import AudioChunk
from tests.browser import wait_for
from tests.factories import tiny_voice


class Room:
    """A process with the model, without one: `segment` does what a test says."""

    def __init__(self, segment: Callable | None, streams: int) -> None:
        self.admission, self.metrics = Admission(streams, 8, 30), Metrics()
        self.tts = SimpleNamespace(
            ways=SimpleNamespace(segment=segment),
            request=lambda *about: about,
            stream_bytes=lambda ids=100, steps=None: 10 * ids,
        )
        self.loop = asyncio.new_event_loop()
        self._threads = ThreadPoolExecutor(8)
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.desks: list[Desk] = []

    def client(self) -> ModelClient:
        ours, theirs = socket.socketpair()

        async def make() -> Desk:
            return Desk(Link(ours), self.tts, self.admission, self.metrics, self._threads)

        self.desks.append(self.run(make()))
        return ModelClient(Link(theirs))

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)


@pytest.fixture
def room(monkeypatch) -> Iterator[Callable[..., Room]]:
    ended, rooms = [], []
    monkeypatch.setattr("mamtra.serve.model_client.os.kill", lambda *about: ended.append(about))

    def make(segment=None, streams=2) -> Room:
        rooms.append(Room(segment, streams))
        return rooms[-1]

    yield make
    for each in rooms:
        for desk in each.desks:
            desk.close()
    wait_for(lambda: len(ended) == sum(len(each.desks) for each in rooms))  # a front process ends with the other one
    for each in rooms:
        call_in(each.loop, each.loop.stop)


def test_a_key_has_one_share_of_all_processes(room):
    here = room()
    first, second = (FrontAdmission(here.client(), 2) for _ in range(2))
    key = Key("ann", b"", 1)
    ticket = here.run(first.enter(key))
    with pytest.raises(ApiError, match="1 texts") as refused:
        here.run(second.enter(key))
    assert refused.value.status == 429 and refused.value.headers["Retry-After"] == "1"
    ticket.leave()
    wait_for(lambda: not here.admission.busy)
    here.run(second.enter(key))


def test_slots_of_a_process_that_ends_are_free_again(room):
    here = room(streams=1)
    first, second = here.client(), here.client()
    here.run(FrontAdmission(first, 1).enter(None, 5))
    waiting = asyncio.run_coroutine_threadsafe(FrontAdmission(second, 1).enter(None), here.loop)
    wait_for(lambda: here.admission.waiting == 1)
    here.desks[0].close()
    assert waiting.result(20) and here.admission.busy == 1 and here.admission.held == 0


def test_a_front_process_may_end_after_the_event_loop(room, monkeypatch):
    failed, here = [], room()
    monkeypatch.setattr(threading, "excepthook", failed.append)
    before = set(threading.enumerate())
    here.client()
    (desk,) = (one for one in set(threading.enumerate()) - before if one.name == "mamtra-desk")
    here.loop.call_soon_threadsafe(here.loop.stop)
    wait_for(lambda: not here.loop.is_running())
    here.loop.close()
    here.desks[0].close()
    desk.join(20)
    assert not desk.is_alive() and not failed


def test_one_who_leaves_the_queue_takes_no_slot(room):
    here = room(streams=1)
    admission = FrontAdmission(here.client(), 1)
    ticket = here.run(admission.enter(None))
    waiting = asyncio.run_coroutine_threadsafe(admission.enter(None), here.loop)
    wait_for(lambda: here.admission.waiting == 1)
    waiting.cancel()
    wait_for(lambda: here.admission.waiting == 0)
    ticket.leave()
    wait_for(lambda: here.admission.busy == 0)


def test_while_it_stops_nobody_comes_in(room):
    admission = FrontAdmission(room().client(), 1)
    admission.draining = True
    with pytest.raises(ApiError, match="stopping"):
        asyncio.run(admission.enter(None))


def chunk(tokens, reason="", read=None):
    return AudioChunk(np.arange(len(tokens), dtype=np.float32), len(tokens), reason, 1, read=read)


def speak(client, ids, voice=None, **how):
    return client.speak(
        voice or tiny_voice(), ids, **{"seed": 1, "speed": 1.0, "steps": None, "index": 0, "whole": False, **how}
    )


def test_chunks_arrive_as_they_are(room):
    read = np.array([[0, 1], [2, 3]], np.float32)

    def segment(request, ids, index):
        assert request[1:] == (7, 1.5, 4) and index == 3
        yield chunk(ids)
        yield chunk(ids[:1], "eos", read)

    first, last = speak(room(segment).client(), [5, 6, 7], seed=7, speed=1.5, steps=4, index=3)
    assert (
        np.array_equal(first.samples, [0, 1, 2])
        and (first.tokens, first.finish_reason) == (3, "")
        and first.read is None
    )
    assert (last.tokens, last.finish_reason) == (1, "eos") and np.array_equal(last.read, read)


def test_ids_are_asked_for_when_they_are_needed_and_can_be_read_again(room):
    taken = []

    def arriving():
        for each in (5, 6, 7):
            taken.append(each)
            yield each

    def segment(request, ids, index):
        yield chunk([next(iter(ids))])
        yield chunk([*ids, *ids], "eos")

    chunks = speak(room(segment).client(), arriving())
    assert next(chunks).tokens == 1 and taken == [5]
    assert next(chunks).tokens == 6 and taken == [5, 6, 7]


@pytest.mark.parametrize(
    ("error", "kind"), [(MamTraError("Say more."), MamTraError), (ValueError("odd"), RuntimeError)]
)
def test_errors_arrive(room, error, kind):
    def segment(request, ids, index):
        yield chunk(ids)
        raise error

    chunks = speak(room(segment).client(), [1])
    next(chunks)
    with pytest.raises(kind, match=str(error)):
        next(chunks)


def test_what_nobody_wants_is_ended(room):
    ended, go_on = threading.Event(), threading.Event()

    def segment(request, ids, index):
        try:
            yield chunk(ids)
            go_on.wait(20)
            yield chunk(ids)
            raise AssertionError("it goes on")
        finally:
            ended.set()

    chunks = speak(room(segment).client(), [1])
    next(chunks)
    chunks.close()
    go_on.set()
    assert ended.wait(20)


def test_more_voices_than_are_kept(room):
    def segment(request, ids, index):
        yield chunk([0] * len(request[0].prompt_text), "eos")

    client = room(segment).client()
    voices = [tiny_voice(f"voice{n}").instruct([1] * n) for n in range(1, KEPT + 3)]
    for _ in range(2):
        assert [next(speak(client, [1], voice)).tokens for voice in voices] == list(range(1, KEPT + 3))


def test_figures_and_bytes(room):
    client = room().client()
    FrontMetrics(client).answered("GET", "/", 200)
    FrontMetrics(client).refused("overloaded")
    FrontMetrics(client).ended(Spoken(2.0, 50, 1, 0, "eos", 0.5, 1.0))
    page = FrontMetrics(client).page().decode()
    assert 'mamtra_http_requests_total{method="GET",route="/",status="200"} 1.0' in page
    assert "mamtra_speech_tokens_total 50.0" in page and 'mamtra_refused_total{reason="overloaded"} 1.0' in page
    assert client.answer("bytes", ids=3, steps=None).content["bytes"] == 30


def test_a_question_after_the_end_is_answered(room):
    here = room()
    client = here.client()
    here.desks[0].close()
    wait_for(lambda: client.gone)
    assert not client.wait_ready()
    with pytest.raises(RuntimeError, match="has ended"):
        client.answer("page")
    with pytest.raises(RuntimeError, match="has ended"):
        next(speak(client, [1]))
