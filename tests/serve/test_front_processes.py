"""`mamtra serve --front-processes`: one server of several processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.browser import wait_for
from tests.factories import reference
from tests.serve.test_bad_input import STRANGE, error_of, spoken_or_refused
from tests.serve.test_command import ready

LONG = " ".join(["Hello there, how are you?"] * 350)
"""More sound than waits for a listener."""


@contextmanager
def fronted(model: Path, home: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Address and process of a server with two front processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mamtra", "serve", "--model", str(model), "--runtime", "torch", "--port", str(port),
               "--front-processes", "2", "--streams", "4", *words]  # fmt: skip
    log = home / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, env={**os.environ, "MAMTRA_HOME": str(home)}, stderr=stderr)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: ready(address) or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()
        yield address, process
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 0 and "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture(scope="module")
def address(model_directory, tmp_path_factory) -> Iterator[str]:
    with fronted(model_directory, tmp_path_factory.mktemp("home")) as (found, _):
        yield found


def speak(address: str, text: str = "Hello there.", **fields) -> httpx2.Response:
    body = {"input": text, "seed": 1, "response_format": "wav", **fields}
    return httpx2.post(f"{address}/v1/audio/speech", json=body, timeout=60)


def figure(address: str, name: str) -> float:
    return float(re.search(rf"^{re.escape(name)} (.+)$", httpx2.get(f"{address}/metrics").text, re.M)[1])


def fronts(process: subprocess.Popen) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"speed": 1.5}, {"response_format": "flac"}])
def test_it_says_what_one_process_says(address, base, fields):
    answer = speak(address, "Hello there. How are you?", **fields)
    assert answer.status_code == 200 and answer.content == speak(base, "Hello there. How are you?", **fields).content


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"text": "..."}, 400), ({"voice": "nobody"}, 400), ({"voice": "../../etc/passwd"}, 400), ({"speed": 9}, 400),
     ({"text": "word " * 200_000}, 400), ({"text": "word " * 300_000}, 413)],
)  # fmt: skip
def test_mistakes_have_their_status(address, fields, status):
    error_of(speak(address, **fields), status)


@pytest.mark.parametrize("text", STRANGE)
def test_strange_text_is_spoken_or_refused(address, text):
    spoken_or_refused(address, text)


@pytest.mark.parametrize(("content", "code"), [(b"\x00\x01", 1003), ("a" * 2**21, 1009)])
def test_messages_that_end_a_connection(address, content, code):
    for path in ("text-to-speech/tiny/multi-stream-input", "audio/speech/stream"):
        with connect(f"ws{address[4:]}/v1/{path}") as line, pytest.raises(ConnectionClosed) as closed:
            line.send(content)
            while True:
                line.recv(timeout=20)
        assert closed.value.rcvd.code == code


def test_figures_are_those_of_all_processes(address):
    name = "mamtra_first_audio_seconds_count"
    speak(address)
    wait_for(lambda: figure(address, name) > 0)
    before, answered = (figure(address, each) for each in (name, "mamtra_audio_seconds_total"))
    with ThreadPoolExecutor(4) as threads:
        assert {answer.status_code for answer in threads.map(speak, [address] * 8)} == {200}
    wait_for(lambda: figure(address, name) == before + 8)
    assert figure(address, "mamtra_audio_seconds_total") > answered
    assert figure(address, "mamtra_streams_running") == 0


def test_a_voice_is_added_and_known_to_all(address, tmp_path):
    recording = reference(tmp_path / "recording.wav").read_bytes()
    form, files = {"name": "newcomer", "consent": "my own"}, {"audio_sample": ("a.wav", recording)}
    added = httpx2.post(f"{address}/v1/audio/voices", data=form, files=files, timeout=60)
    assert added.status_code == 201, added.text
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: speak(address, voice="newcomer"), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert httpx2.delete(f"{address}/v1/audio/voices/newcomer").status_code == 200
    assert speak(address, voice="newcomer").status_code == 400


def test_text_that_arrives(address):
    with connect(f"ws{address[4:]}/v1/text-to-speech/tiny/multi-stream-input?output_format=pcm_24000") as line:
        line.send('{"text": " ", "context_id": "a"}')
        line.send('{"text": "Hello there. How are you? ", "context_id": "a", "flush": true}')
        assert '"audio"' in line.recv(timeout=30)
        line.send('{"close_socket": true}')


def test_a_front_process_that_dies_takes_only_its_own_texts_along(model_directory, tmp_path):
    with fronted(model_directory, tmp_path) as (address, process):
        first = fronts(process)
        assert len(first) == 2
        body = {"input": LONG, "response_format": "pcm", "sample_rate": 48000}
        with httpx2.stream("POST", f"{address}/v1/audio/speech", json=body, timeout=60) as answer:
            parts = answer.iter_raw()
            next(parts)
            assert figure(address, "mamtra_streams_running") == 1
            broken = []
            for pid in first:  # one of them has the answer, and the other one lives while it dies
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda pid=pid: pid not in fronts(process) and len(fronts(process)) == 2, 60)
                broken.append(pid)
                wait_for(lambda: speaks(address), 60)
            with pytest.raises(httpx2.TransportError):
                for _ in parts:
                    pass
        wait_for(lambda: figure(address, "mamtra_streams_running") == 0)


def speaks(address: str) -> bool:
    try:
        return speak(address).status_code == 200
    except httpx2.TransportError:
        return False


def test_what_is_being_spoken_ends_before_the_server_does(model_directory, tmp_path):
    text = "Hello there. How are you?"
    with fronted(model_directory, tmp_path) as (address, process):
        body = {"input": text, "seed": 1, "response_format": "wav"}
        with httpx2.stream("POST", f"{address}/v1/audio/speech", json=body, timeout=60) as answer:
            parts = answer.iter_raw()
            said = next(parts)
            process.terminate()
            said += b"".join(parts)
        process.wait(60)
        assert len(said) > 44


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_behind(model_directory, tmp_path, sig):
    server = fronted(model_directory, tmp_path)
    _, process = server.__enter__()
    left = fronts(process)
    process.send_signal(sig)
    process.wait(60)
    wait_for(lambda: not any(alive(pid) for pid in left), 30)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
