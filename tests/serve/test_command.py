"""`mamtra serve` as a process."""

import os
import signal
import socket
import subprocess
import sys

import httpx2
import pytest

from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.serve import memory
from tests.browser import wait_for


def ready(address):
    try:
        return httpx2.get(f"{address}/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def test_it_starts_speaks_and_stops_when_told(model_directory, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mamtra", "serve", "--model", str(model_directory), "--port", str(port),
               "--voice-alias", "anna=tiny", "--strict-models"]  # fmt: skip
    environment = {**os.environ, "MAMTRA_HOME": str(tmp_path), "MAMTRA_API_KEY": "0123456789abcdef"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: ready(address) or process.poll() is not None, 60)
        headers = {"xi-api-key": "0123456789abcdef"}
        body = {"input": "Hello.", "voice": "anna", "model": "tiny-model"}
        assert httpx2.post(f"{address}/v1/audio/speech", json=body, headers=headers).status_code == 200
        assert httpx2.post(f"{address}/v1/audio/speech", json=body).status_code == 401
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, log
    assert "Traceback" not in log and "0123456789abcdef" not in log


def test_mistakes_are_one_sentence(refused, tmp_path, monkeypatch):
    keys = tmp_path / "keys.txt"
    keys.write_text("ann 0123456789abcdef\n")
    for words, said in (
        ("--host 0.0.0.0", "reachable from other machines"),
        ("--voice-alias alloy", "ALIAS=VOICE"),
        ("--voice-alias alloy=nobody", "names no voice"),
        (f"--keys {tmp_path / 'none'}", "none"),
        ("--port 0", "--port"),
        ("--model nowhere", "nowhere"),
        ("--front-processes 2 --runtime onnx", "models that run with torch"),
        ("--front-processes 2 --ray local", "no effect with --ray"),
    ):
        assert said in refused(["serve", *words.split()])
    monkeypatch.setenv("MAMTRA_API_KEY", "0123456789abcdef")
    assert "leave one of them out" in refused(["serve", "--keys", str(keys)])


def test_a_limit_of_addresses_that_threads_would_not_survive_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "address_space", lambda: (240 * 10**6, 1500 * 10**6))
    memory.check_addresses(3)
    with pytest.raises(
        MamTraError,
        match=r"2,247 MB .* --streams 8, .* 1,500 MB \(ulimit -v\); serve with --streams 3, or allow more\.$",
    ):
        memory.check_addresses(8)
    monkeypatch.setattr(memory, "address_space", lambda: (240 * 10**6, 600 * 10**6))
    with pytest.raises(MamTraError, match=r"can have 600 MB \(ulimit -v\); allow more\.$"):
        memory.check_addresses(1)
    monkeypatch.setattr(memory, "address_space", lambda: None)
    memory.check_addresses(1000)


def test_what_is_missing_is_said(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "mamtra: The server needs fastapi; pip install 'mamtra[serve]'.\n"
