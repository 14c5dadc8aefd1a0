"""The right status and one clear sentence in OpenAI's form, with nothing leaked, and the server goes on."""

import io
import json
import socket

import httpx2
import numpy as np
import pytest
import soundfile

from mamtra.serve.settings import ServeSettings
from tests.serve.test_uploads import upload

PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "voices/tiny",
    "tiny.safetensors",
    "..",
    "",
    "a\0b",
    "C:\\x",
    "~root",
    "file.wav",
]


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".") and "Traceback" not in error["message"]
    assert "\n" not in error["message"] and len(error["message"]) < 600
    return error


def speak(client, **fields):
    return client.post("/v1/audio/speech", json={"input": "Hello.", **fields})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 3}, "input"), ({"input": None}, "input"), ({"input": ["a"]}, "input"), ({"input": {}}, "input"),
        ({"input": ""}, "input"), ({"input": " \n\t "}, "input"), ({"input": "a" * 10_001}, "input"),
        ({"voice": 3}, "voice"), ({"voice": {}}, "voice"), ({"voice": []}, "voice"), ({"voice": "nobody"}, "voice"),
        ({"response_format": "ogg3"}, "response_format"), ({"response_format": 3}, "response_format"),
        ({"speed": 0.25}, "speed"), ({"speed": 4}, "speed"), ({"speed": "fast"}, "speed"), ({"speed": -1}, "speed"),
        ({"seed": -1}, "seed"), ({"seed": 1.5}, "seed"), ({"seed": 2**63}, "seed"), ({"seed": "x"}, "seed"),
        ({"seed": True}, "seed"),
        ({"stream_format": "smoke"}, "stream_format"), ({"sample_rate": 1}, "sample_rate"),
        ({"sample_rate": 10**9}, "sample_rate"), ({"language": "de"}, "language"), ({"model": 3}, "model"),
        ({"sample_rate": 10**4000}, "sample_rate"), ({"speed": 10**400}, "speed"),
        ({"instructions": "x" * 5000}, "instructions"), ({"instructions": 7}, "instructions"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(client, fields, param):
    error = error_of(speak(client, **fields), 400)
    assert error["param"] == param and error["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", PATHS)
def test_names_of_voices_are_never_paths(client, name):
    assert "passwd" not in error_of(speak(client, voice=name), 400)["message"].replace(repr(name), "")


STRANGE = ["\x00\x01\x02 hello \x1b[31m", "🙂🙃", "مرحبا بالعالم", "שלום", "\u202e hello \u202c", "a\ud800b", "�", "<break/>",
     "[pause:1s]", "]]][[[", "Hello " * 12, "?" * 500, "hello\r\n\r\nhello", "\ufeffhello"]  # fmt: skip


def spoken_or_refused(address, text):
    content = json.dumps({"input": text, "response_format": "pcm"}).encode()
    headers = {"content-type": "application/json"}
    answer = httpx2.post(f"{address}/v1/audio/speech", content=content, headers=headers, timeout=60)
    if answer.status_code == 200:
        assert len(answer.content) > 100
    else:
        error_of(answer, 400)


@pytest.mark.parametrize("text", STRANGE)
def test_strange_text_is_spoken_or_refused(base, text):
    spoken_or_refused(base, text)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"{}", b'{"input": NaN}', b"[" * 100_000]
)
def test_a_body_that_is_not_the_right_json(client, body):
    error_of(client.post("/v1/audio/speech", content=body, headers={"content-type": "application/json"}), 400)


def test_a_megabyte_of_text(client):
    error_of(speak(client, input="word " * 200_000), 400)
    error = error_of(speak(client, input="word " * 300_000), 413)
    assert error["code"] == "request_too_large"


def test_a_body_without_a_length_is_cut_off_at_the_limit(client):
    def forever():
        while True:
            yield b" " * 100_000

    try:
        error_of(client.post("/v1/audio/speech", content=forever()), 413)
    except OSError:
        pass  # the server stopped reading, and this side was still writing
    except Exception as error:
        assert type(error).__name__ in ("WriteError", "RemoteProtocolError", "ReadError")
    assert client.get("/health/live").status_code == 200


def test_unknown_paths_and_methods(client):
    assert error_of(client.get("/nothing/here"), 404)["type"] == "not_found_error"
    error = client.put("/v1/audio/speech", json={})
    error_of(error, 405)
    assert error.headers["allow"] == "POST"
    assert client.patch("/v1/audio/voices").headers["allow"] == "GET, POST"
    error_of(client.get("/v1/models/none"), 404)
    error_of(client.request("DELETE", "/v1/audio/voices/nobody"), 404)


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "tiny%00", "tiny.safetensors"])
def test_only_voices_are_removed(client, name):
    answer = client.request("DELETE", f"/v1/audio/voices/{name}")
    assert answer.status_code in (404, 405)
    error_of(answer, answer.status_code)
    assert speak(client, voice="tiny").status_code == 200


def test_a_request_that_breaks_off_is_forgotten(base, client):
    host, port = base.removeprefix("http://").split(":")
    for sent in (
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
        b"\x16\x03\x01 rubbish",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent)
    assert speak(client).status_code == 200


def test_a_body_that_comes_too_slowly(told):
    _, client = told(body_seconds=0.2)
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port)) as connection:
        connection.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def bomb(seconds):
    """A file of silence: small, and long once it is decoded."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 16000, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(seconds):
            file.write(np.zeros(16000))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"not sound", 400),
        (bomb(3600), 400),
        (bomb(3), 400),
        (bomb(3)[:40], 400),
        (b"\0" * (11 * 2**20), 413),
    ],
)
def test_recordings_that_cannot_serve(client, content, status):
    assert len(bomb(3600)) < 300_000
    error = error_of(upload(client, "bad", content), status)
    assert "/tmp" not in error["message"]
    assert "bad" not in [each["id"] for each in client.get("/v1/audio/voices").json()["voices"]]


def test_settings_are_strict():
    with pytest.raises(ValueError, match="extra"):
        ServeSettings(portt=1)
