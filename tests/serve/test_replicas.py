"""`mamtra serve --ray`: replicas behind Ray Serve, one of them killed while all are asked."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

import mamtra
from mamtra.audio.io import decode_audio
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.serve.admission import Admission
from mamtra.serve.keys import KEY_VARIABLE
from mamtra.serve.replicas import ModelPlace, Replicas, application, start_replicas
from mamtra.serve.scaling import wanted_replicas
from mamtra.serve.settings import ServeSettings
from mamtra.tts import load
from tests.browser import wait_for
from tests.serve.test_speech_socket import open_socket, send, utterance

SOURCE = str(Path(mamtra.__file__).parents[1])


@pytest.mark.parametrize(("text", "least", "most"), [("1", 1, 1), ("3", 3, 3), ("2-5", 2, 5)])
def test_numbers_of_replicas(text, least, most):
    assert Replicas.parse(text, gpus=0.5) == (least, most, 1.0, 0.5, 30.0)


@pytest.mark.parametrize("text", ["", "0", "-1", "4-2", "1-", "two", "1-2-3", "²", "100000"])
def test_other_numbers_are_refused(text):
    with pytest.raises(MamTraError, match="--replicas"):
        Replicas.parse(text)


@pytest.mark.parametrize(
    ("texts", "size", "queued", "wanted"),
    [([0.0], [0.0], 0, 1), ([1.0], [0.9], 0, 1), ([1.5], [0.2], 0, 2), ([0.3], [2.4], 0, 3), ([0.5, 0.4], [0.1, 0.2], 0, 1),
     ([1.0, 1.0], [0.0, 0.0], 4, 3), ([], [], 4, 7)],
)  # fmt: skip
def test_replicas_that_are_wanted(texts, size, queued, wanted):
    told = {"texts": dict(enumerate(texts)), "bytes": dict(enumerate(size))} if texts else {}
    context = SimpleNamespace(
        aggregated_metrics=told, target_num_replicas=7, total_queued_requests=queued,
        config=SimpleNamespace(target_ongoing_requests=4),
    )  # fmt: skip
    assert wanted_replicas(context) == (wanted, {})


def test_load_counts_what_waits():
    async def fill():
        admission = Admission(2, 4, 30)
        admission.budget = 100
        spoken = [await admission.enter(None, 50) for _ in range(2)]
        waiting = asyncio.create_task(admission.enter(None, 60))
        await asyncio.sleep(0)
        full = admission.load()
        for ticket in (*spoken,):
            ticket.leave()
        (await waiting).leave()
        return full, admission.load()

    assert asyncio.run(fill()) == ({"texts": 1.5, "bytes": 1.6}, {"texts": 0.0, "bytes": 0.0})


def test_mistakes_are_one_sentence(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for words, said in (
        ("--replicas 2", "has no effect without --ray"),
        ("--ray local --replicas none", "--replicas none"),
        ("--ray local --wyoming 10200", "leave --wyoming or --ray out"),
        ("--ray local", "pip install 'mamtra[serve,ray]'"),
    ):
        assert main(["serve", *words.split()]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1


def test_arguments_of_a_configuration_file(monkeypatch):
    pytest.importorskip("ray.serve", reason="needs Ray Serve, of the extra ray")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(MamTraError, match="reachable from other machines"):
        application({})
    with pytest.raises(MamTraError, match="stream: "):
        application({"host": "127.0.0.1", "stream": 3})
    monkeypatch.setenv(KEY_VARIABLE, "0123456789abcdef")
    assert application({"streams": 3, "runtime": "onnx"})


@contextmanager
def started(model_directory, how_many, **settings):
    """Replicas on a Ray of this machine; gives their address."""
    pytest.importorskip("ray.serve", reason="needs Ray Serve, of the extra ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((SOURCE, os.environ.get("PYTHONPATH", ""))))
        patch.setenv("RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "0.5")
        stop = start_replicas(ModelPlace(str(model_directory)), ServeSettings(port=port, **settings), how_many)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()


@pytest.fixture(scope="module")
def address(model_directory):
    with started(model_directory, Replicas(2, 2, 0.5), streams=2) as address:
        yield address


def replicas():
    """Process ids."""
    psutil = pytest.importorskip("psutil")
    mine = psutil.Process().children(recursive=True)
    found = []
    for process in mine:
        with suppress(psutil.Error):  # one that has just ended
            found += [process.pid] if "ServeReplica" in " ".join(process.cmdline()) else []
    return found


def speak(address, seed):
    """Seconds of the audio, or what went wrong."""
    body = {
        "input": "Hello there. How are you?",
        "voice": "tiny",
        "model": "tts-1",
        "response_format": "wav",
        "seed": seed,
    }
    try:
        answer = httpx2.post(f"{address}/v1/audio/speech", json=body, timeout=60)
    except httpx2.TransportError as error:
        return error
    if answer.status_code != 200:
        return answer.status_code
    samples, rate = decode_audio(answer.content, "answer")
    return len(samples) / rate


def test_bytes_start_replicas_and_rest_ends_them(model_directory):
    """Eight texts may be spoken side by side, but the memory is that of one and a half: the texts alone would start none."""
    memory = int(1.5 * load(model_directory).stream_bytes(20))
    with started(model_directory, Replicas(1, 2, 0.5, patience=2), streams=8, most_memory=memory) as address:
        assert len(replicas()) == 1
        over = threading.Event()

        def ask(seed):
            while not over.is_set():
                speak(address, seed)

        with ThreadPoolExecutor(4) as pool:
            pool.map(ask, range(4))
            try:
                wait_for(lambda: len(replicas()) == 2, 90)
            finally:
                over.set()
        wait_for(lambda: len(replicas()) == 1, 120)
        assert speak(address, 0) > 0


def test_a_killed_replica_costs_only_what_it_was_speaking(address):
    with ThreadPoolExecutor(12) as pool:
        calm = [*pool.map(lambda seed: speak(address, seed), range(6))]
        assert all(isinstance(seconds, float) and seconds > 0 for seconds in calm), calm
        victim = replicas()[0]
        waiting = [pool.submit(speak, address, seed % 6) for seed in range(24)]
        os.kill(victim, signal.SIGKILL)
        answers = [each.result(timeout=90) for each in waiting]
    whole = [(seed % 6, answer) for seed, answer in enumerate(answers) if isinstance(answer, float)]
    assert whole and all(seconds == calm[seed] for seed, seconds in whole)
    # what is not whole says so: an error, or a connection that ends before the answer does
    assert all(isinstance(answer, (float, httpx2.TransportError)) or answer >= 500 for answer in answers)
    wait_for(lambda: len(replicas()) == 2 and victim not in replicas(), 60)
    assert [speak(address, seed) for seed in range(6)] == calm


def test_sockets_reach_a_replica(address):
    with open_socket(address) as connection:
        send(connection, "session.config", voice="tiny")
        send(connection, "input.text", text="Hello there. How are you?")
        send(connection, "input.done")
        events, sounds = utterance(connection)
    assert events[-1]["type"] == "session.done" and sum(map(len, sounds)) > 0
