"""ElevenLabs' protocols: text while it is written, several contexts, times of characters, and what may go wrong."""

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mamtra.serve.keys import make_key
from tests.browser import wait_for


@contextmanager
def open_socket(base, voice="tiny", path="multi-stream-input", headers=None, **query):
    query = {"output_format": "pcm_24000", **query}
    address = f"{str(base).replace('http', 'ws', 1).rstrip('/')}/v1/text-to-speech/{voice}/{path}"
    options = "&".join(f"{name}={value}" for name, value in query.items())
    with connect(f"{address}?{options}", additional_headers=headers, max_size=None) as line:
        yield line


def send(line, **message):
    line.send(json.dumps(message))


def receive(line, timeout=20):
    return json.loads(line.recv(timeout=timeout))


def until_final(line, names=("a",)):
    """Messages by context, until each of them is final."""
    found = {name: [] for name in names}
    left = set(names)
    while left:
        message = receive(line)
        found[message.get("contextId")].append(message)
        if message.get("isFinal"):
            left.discard(message["contextId"])
    return found


def sound(messages):
    return b"".join(base64.b64decode(each["audio"]) for each in messages if each.get("audio"))


def aligned(messages, key="alignment"):
    """Characters with start and duration."""
    found = [each[key] for each in messages if each.get(key)]
    return [
        triple
        for each in found
        for triple in zip(each["chars"], each["charStartTimesMs"], each["charDurationsMs"], strict=True)
    ]


def test_what_livekit_sends(base):
    with open_socket(base, sync_alignment="true", auto_mode="true") as line:
        send(
            line,
            text=" ",
            context_id="a",
            voice_settings={"speed": 1.0},
            generation_config={"chunk_length_schedule": [50]},
        )
        send(line, text="Hello there. ", context_id="a", flush=True)
        send(line, text="How are you? ", context_id="a", flush=True)
        send(line, text="", context_id="a", flush=True)
        send(line, context_id="a", close_context=True)
        messages = until_final(line)["a"]
    chars = aligned(messages, "normalizedAlignment")
    assert "".join(char for char, _, _ in chars).split() == ["Hello", "there.", "How", "are", "you?"]
    ends = [start + duration for _, start, duration in chars]
    assert [start for _, start, _ in chars] == sorted(start for _, start, _ in chars)
    assert ends[-1] == pytest.approx(1000 * len(sound(messages)) / 48000, abs=2)


def test_what_pipecat_sends(base):
    """Times of a message count from the end of the one before."""
    with open_socket(base) as line:
        send(line, text="")  # keeps the connection alive
        send(line, text=" ", context_id="a")
        send(line, text="Hello there. ", context_id="a")
        send(line, text="How are you?", context_id="a")
        send(line, context_id="a", flush=True)
        send(line, text="", context_id="a")
        send(line, context_id="a", close_context=True)
        messages = until_final(line)["a"]
        send(line, close_socket=True)
        with pytest.raises(ConnectionClosed):
            receive(line)
    base_time = 0.0
    for each in messages:
        if times := each.get("alignment"):
            base_time += times["charStartTimesMs"][-1] + times["charDurationsMs"][-1]
    assert base_time == pytest.approx(1000 * len(sound(messages)) / 48000, abs=5)


def test_the_first_sentence_is_heard_before_the_second_is_written(base):
    with open_socket(base) as line:
        for part in ("Hel", "lo the", "re. H"):
            send(line, text=part, context_id="a")
        assert receive(line)["audio"]
        send(line, text="ow are you?", context_id="a")
        send(line, context_id="a", close_context=True)
        until_final(line)


def test_the_same_text_gives_the_same_audio_however_it_is_cut(base):
    text, found = "Hello there. How are you? Good morning.", []
    for size in (1, 7, 100):
        with open_socket(base, seed=5) as line:
            for start in range(0, len(text), size):
                send(line, text=text[start : start + size], context_id="a")
            send(line, context_id="a", close_context=True)
            messages = until_final(line)["a"]
            found.append((sound(messages), aligned(messages)))
    assert found[0] == found[1] == found[2]


def test_contexts_are_spoken_side_by_side(base):
    with open_socket(base, seed=3) as line:
        for name in ("a", "b"):
            send(line, text="Hello there.", context_id=name, flush=True)
        for name in ("b", "a"):
            send(line, context_id=name, close_context=True)
        found = until_final(line, ("a", "b"))
        assert sound(found["a"]) == sound(found["b"]) != b""
        send(line, text="Hello there.", context_id="a", flush=True)  # a name may be used again
        send(line, context_id="a", close_context=True)
        assert sound(until_final(line)["a"]) == sound(found["a"])


def test_a_context_that_is_closed_twice_stops_at_once(told):
    """Once means that no more text comes; again, that nobody wants to hear the rest."""
    go = threading.Event()
    tts, client = told(lambda n, text: n < 2 or go.wait(20))
    with open_socket(client.base_url) as line:
        send(line, text="one two three four five.", context_id="a", flush=True)
        assert receive(line)["audio"]
        send(line, context_id="a", close_context=True)
        assert receive(line)["audio"]
        send(line, context_id="a", close_context=True)
        began = time.monotonic()
        assert receive(line) == {"isFinal": True, "contextId": "a"}
        assert time.monotonic() - began < 5
        go.set()
        wait_for(lambda: tts.closed)
        send(line, text="one.", context_id="b", flush=True)  # and the next one is heard
        send(line, context_id="b", close_context=True)
        assert len(sound(until_final(line, ("b",))["b"])) == 4800
    assert 'mamtra_stops_total{reason="cancelled"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("politely", [True, False])
def test_a_connection_that_is_lost_has_its_speech_cancelled(told, politely, caplog):
    go = threading.Event()
    tts, client = told(lambda n, text: n < 1 or go.wait(20))
    with open_socket(client.base_url) as connection:
        send(connection, text="one two three.", context_id="a", flush=True)
        assert receive(connection)["audio"]
        if not politely:
            connection.socket.shutdown(socket.SHUT_RDWR)
    go.set()
    wait_for(lambda: tts.closed)
    wait_for(lambda: "mamtra_streams_running 0.0" in client.get("/metrics").text)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_context_that_waits_for_text_keeps_others_from_nothing(told):
    """One text is computed at a time, and a context in the middle of a sentence is not computing."""
    _, client = told(hops_at_once=1)
    with open_socket(client.base_url) as line:
        send(line, text="one. two", context_id="a")
        assert receive(line)["audio"]
        assert client.post("/v1/audio/speech", json={"input": "other"}).status_code == 200
        send(line, context_id="a", close_context=True)
        until_final(line)


def test_single_context(base):
    with open_socket(base, path="stream-input") as line:
        send(line, text=" ", voice_settings={"speed": 0.8})
        send(line, text="Hello there. ", try_trigger_generation=True)
        send(line, text="")
        messages = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                messages.append(receive(line))
    assert closed.value.rcvd.code == 1000
    assert messages[-1] == {"isFinal": True} and sound(messages) and "contextId" not in messages[0]


@pytest.mark.parametrize("speed", [10**400, -(10**400), "1", None, [], True])
def test_a_speed_that_cannot_be_is_bounded_or_ignored(base, speed):
    with open_socket(base) as line:
        send(line, text="Hello.", context_id="a", voice_settings={"speed": speed}, close_context=True)
        assert sound(until_final(line)["a"])


def test_the_speed_of_a_context(base):
    with open_socket(base, seed=3) as line:
        for name, speed in (("a", 1.0), ("b", 0.5)):
            send(line, text="Hello there.", context_id=name, voice_settings={"speed": speed}, flush=True)
            send(line, context_id=name, close_context=True)
        found = until_final(line, ("a", "b"))
    assert len(sound(found["b"])) > 1.5 * len(sound(found["a"]))


@pytest.mark.parametrize(
    "message",
    ['{"text": 3}', '{"text": "a", "context_id": 7}', "[]", "null", "not json", '{"text": ["a"]}', "[" * 5000,
     json.dumps({"text": "word " * 4000, "context_id": "x"})],
)  # fmt: skip
def test_a_wrong_message_is_answered_and_harms_no_other(base, message):
    with open_socket(base) as line:
        send(line, text="Hello there.", context_id="a")
        line.send(message)
        answer = receive(line)
        assert answer["error"].endswith(".") and answer["code"]
        send(line, context_id="a", close_context=True)
        assert sound(until_final(line)["a"])


def test_bytes_where_text_is_due(base):
    with open_socket(base) as line:
        line.send(b"\x00\x01")
        with pytest.raises(ConnectionClosed) as closed:
            receive(line)
    assert closed.value.rcvd.code == 1003


@pytest.mark.parametrize(
    ("voice", "query"),
    [
        ("nobody", {}),
        ("tiny", {"output_format": "mp9_1_2"}),
        ("tiny", {"output_format": "pcm_7"}),
        (quote("声" * 90), {}),
    ],
)
def test_what_cannot_be_served_is_said(base, voice, query):
    with open_socket(base, voice, **query) as line:
        assert receive(line)["error"].endswith(".")
        with pytest.raises(ConnectionClosed) as closed:
            receive(line)
    assert closed.value.rcvd.code == 1008


def test_silence_ends_a_connection(base):
    with open_socket(base, inactivity_timeout=1) as line, pytest.raises(ConnectionClosed) as closed:
        receive(line)
    assert closed.value.rcvd.code == 1001


def test_half_a_sentence_is_not_waited_for_longer(base):
    with open_socket(base, inactivity_timeout=1) as line:
        send(line, text="Hello there", context_id="a")
        assert sound(until_final(line)["a"])
        with pytest.raises(ConnectionClosed):
            receive(line)


def test_too_many_contexts(told):
    _, client = told()
    with open_socket(client.base_url) as line:
        for n in range(9):
            send(line, text=" ", context_id=str(n))
        assert "8 contexts" in receive(line)["error"]


def test_keys_and_origins(told):
    secret = "0123456789abcdef"
    _, client = told(keys=(make_key(secret),))
    for headers in ({}, {"xi-api-key": "wrong"}, {"xi-api-key": secret, "Origin": "https://evil.example"}):
        with pytest.raises(InvalidStatus) as refused, open_socket(client.base_url, headers=headers):
            pass
        assert refused.value.response.status_code == 403
    with open_socket(client.base_url, headers={"xi-api-key": secret}) as line:
        send(line, text="one.", context_id="a")
        send(line, context_id="a", close_context=True)
        until_final(line)


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "text": st.sampled_from(["", " ", "one ", "two. ", "three"]),
        "context_id": st.sampled_from(["a", "b", None]),
        "flush": st.booleans(),
        "close_context": st.booleans(),
    },
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(MESSAGES, max_size=12))
def test_any_order_of_messages_leaves_a_connection_that_speaks(told_once, messages):
    with open_socket(told_once.base_url) as line:
        for message in messages:
            send(line, **message)
        for name in ("a", "b", None):
            for _ in range(2):
                send(line, context_id=name, close_context=True)
        send(line, text="last words.", context_id="z")
        send(line, context_id="z", close_context=True)
        said = []
        while not said or not said[-1].get("isFinal"):
            message = receive(line)
            said += [message] if message.get("contextId") == "z" else []
        assert len(sound(said)) == 9600


@pytest.fixture
def told_once(told):
    return told(streams=4)[1]


def test_over_http(client):
    body = {
        "text": "Hello there. How are you?",
        "model_id": "eleven_turbo_v2_5",
        "seed": 3,
        "voice_settings": {"stability": 0.5},
    }
    for path in ("/v1/text-to-speech/tiny", "/v1/text-to-speech/alloy/stream"):
        answer = client.post(path, json=body, params={"output_format": "mp3_22050_32"})
        assert answer.status_code == 200 and answer.headers["content-type"] == "audio/mpeg"
    answer = client.post(
        "/v1/text-to-speech/tiny/with-timestamps", json=body, params={"output_format": "pcm_24000"}
    ).json()
    times = answer["alignment"]
    assert "".join(times["characters"]) == body["text"]
    assert times["character_end_times_seconds"][-1] == pytest.approx(
        len(base64.b64decode(answer["audio_base64"])) / 48000, abs=0.01
    )
    lines = client.post(
        "/v1/text-to-speech/tiny/stream/with-timestamps", json=body, params={"output_format": "pcm_24000"}
    ).text
    found = [json.loads(line) for line in lines.splitlines()]
    assert b"".join(base64.b64decode(each["audio_base64"]) for each in found) == base64.b64decode(
        answer["audio_base64"]
    )
    assert client.get("/v1/voices").json()["voices"][0]["voice_id"] == "tiny"
    for voice, fields, status in (
        ("nobody", body, 404),
        ("tiny", {"text": ""}, 400),
        ("tiny", {}, 400),
        ("..%2f", body, 404),
    ):
        assert client.post(f"/v1/text-to-speech/{voice}", json=fields).status_code == status
