"""Peers of WebSockets who never read: they hold nobody back, and are cut off."""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path

import pytest

from tests.serve.conftest import figure, wait_for

TEXT = "word " * 15_000
"""Far more audio than sockets and buffers hold."""
PROTOCOLS = {
    "text-to-speech/tiny/multi-stream-input?output_format=pcm_48000": [
        {"text": TEXT, "context_id": "a", "flush": True},
        {"context_id": "a", "close_context": True},
    ],
    "text-to-speech/tiny/stream-input?output_format=pcm_48000": [{"text": TEXT}, {"text": ""}],
    "audio/speech/stream": [
        {"type": "session.config", "sample_rate": 48000},
        {"type": "input.text", "text": TEXT},
        {"type": "input.done"},
    ],
}


def frame(message: dict) -> bytes:
    """A text frame of a client, with a mask of zeros."""
    content = json.dumps(message).encode()
    return b"\x81\xff" + len(content).to_bytes(8, "big") + bytes(4) + content


def open_by_hand(host: str, port: int, path: str) -> socket.socket:
    """A WebSocket whose messages nobody takes."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(20)
    line.connect((host, port))
    key = base64.b64encode(os.urandom(16)).decode()
    line.sendall(
        f"GET /v1/{path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += line.recv(1)
    assert answer.startswith(b"HTTP/1.1 101")
    return line


def is_connected(line: socket.socket) -> bool:
    """Whether the server still has a connection to this one, by the list of the system."""
    here, there = (f"0100007F:{port:04X}" for _, port in (line.getsockname(), line.getpeername()))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
    return any(row[1:3] == [there, here] for row in rows)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="no TCP_USER_TIMEOUT")
@pytest.mark.parametrize("path", PROTOCOLS)
def test_a_peer_who_never_reads_is_cut_off_and_holds_nobody_back(told, path):
    tts, client = told(streams=2, stall_seconds=1.0, most_characters=100_000)
    with open_by_hand(client.base_url.host, client.base_url.port, path) as line:
        for message in PROTOCOLS[path]:
            line.sendall(frame(message))
        wait_for(lambda: tts.options)
        assert is_connected(line)
        for _ in range(3):
            answer = client.post("/v1/audio/speech", json={"input": "one two", "response_format": "pcm"})
            assert answer.status_code == 200 and len(answer.content) == 2 * 4800
        wait_for(lambda: figure(client, "mamtra_streams_running") == 0)
        assert any(text != "one two" for text in tts.closed)
        wait_for(lambda: not is_connected(line))
    assert client.post("/v1/audio/speech", json={"input": "one"}).status_code == 200
