"""`/v1/audio/speech/stream`, in vllm-omni's messages."""

import itertools
import json

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def open_socket(base):
    return connect(f"{str(base).replace('http', 'ws', 1).rstrip('/')}/v1/audio/speech/stream", max_size=None)


def send(socket, kind, **fields):
    socket.send(json.dumps({"type": kind, **fields}))


def utterance(socket):
    """Events and bytes until the session is done."""
    events, sounds = [], []
    while not events or events[-1]["type"] not in ("session.done", "error"):
        message = socket.recv(timeout=20)
        if isinstance(message, bytes):
            sounds.append(message)
        else:
            events.append(json.loads(message))
    return events, sounds


def test_sentences_with_their_audio_several_times(base):
    with open_socket(base) as socket:
        send(socket, "session.config", voice="alloy", seed=3, word_timestamps=True)
        found = []
        for _ in range(2):
            for part in ("Hello th", "ere. How are", " you?"):
                send(socket, "input.text", text=part)
            send(socket, "input.done")
            events, sounds = utterance(socket)
            assert [event["type"] for event in events] == ["audio.start", "audio.done"] * 2 + ["session.done"]
            assert [event["sentence_text"] for event in events[0:4:2]] == ["Hello there.", "How are you?"]
            assert sum(event["total_bytes"] for event in events[1:4:2]) == sum(map(len, sounds)) > 0
            words = events[1]["words"] + events[3]["words"]
            assert [word["word"] for word in words] == ["Hello", "there.", "How", "are", "you?"]
            assert all(one["end"] <= two["start"] for one, two in itertools.pairwise(words))
            found.append(sounds)
        assert found[0] == found[1]
        send(socket, "session.close")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
        assert closed.value.rcvd.code == 1000


def test_steps_of_the_flow(base):
    sounds = {}
    for steps in (None, 4):
        with open_socket(base) as socket:
            send(socket, "session.config", seed=3, **({} if steps is None else {"flow_steps": steps}))
            send(socket, "input.text", text="Hello there.")
            send(socket, "input.done")
            _, sounds[steps] = utterance(socket)
    assert len(b"".join(sounds[None])) == len(b"".join(sounds[4])) and sounds[None] != sounds[4]
    with open_socket(base) as socket:
        send(socket, "session.config", flow_steps=99)
        events, _ = utterance(socket)
    assert events[0]["error"]["message"] == "flow_steps 99 is out of range; use 1 to 32."


def test_closing_speaks_what_came(base):
    with open_socket(base) as socket:
        send(socket, "session.config")
        send(socket, "input.text", text="Hello there")
        send(socket, "session.close")
        assert utterance(socket)[1]


MESSAGES = st.one_of(
    st.sampled_from(["input.done", "session.config", "nothing"]).map(lambda kind: {"type": kind}),
    st.sampled_from(["", " ", "one ", "two. ", "three", 3]).map(lambda text: {"type": "input.text", "text": text}),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(MESSAGES, max_size=10))
def test_any_order_of_messages_leaves_a_session_that_speaks(told_once, messages):
    """And each `input.done` is answered, without text before it too."""
    with open_socket(told_once.base_url) as socket:
        send(socket, "session.config")
        for message in [*messages, {"type": "input.done"}]:
            socket.send(json.dumps(message))
        send(socket, "input.text", text="a few last words.")
        send(socket, "input.done")
        send(socket, "session.close")
        said, done = [], 0
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                message = socket.recv(timeout=20)
                if isinstance(message, bytes):
                    said.append(message)
                elif (event := json.loads(message))["type"] == "audio.start":
                    said = []
                else:
                    done += event["type"] == "session.done"
    assert closed.value.rcvd.code == 1000
    assert done == 2 + sum(each["type"] == "input.done" for each in messages)
    assert sum(map(len, said)) == 4 * 4800


@pytest.fixture
def told_once(told):
    return told(streams=4)[1]


@pytest.mark.parametrize(
    "first", ['{"type": "input.text", "text": "a"}', "[]", "x", '{"type": "session.config", "speed": 9}',
              '{"type": "session.config", "voice": "nobody"}', '{"type": "session.config", "voice": 3}'],
)  # fmt: skip
def test_a_session_begins_with_its_configuration(base, first):
    with open_socket(base) as socket:
        socket.send(first)
        event = json.loads(socket.recv(timeout=20))
        assert event["type"] == "error" and event["message"].endswith(".")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)


def test_wrong_messages_harm_no_other(base):
    with open_socket(base) as socket:
        send(socket, "session.config")
        for kind, fields in (
            ("input.text", {"text": 3}),
            ("session.config", {}),
            ("x", {}),
            ("input.text", {"text": "a" * 10_001}),
        ):
            send(socket, kind, **fields)
            assert json.loads(socket.recv(timeout=20))["type"] == "error"
        send(socket, "input.text", text="Hello.")
        send(socket, "input.done")
        assert utterance(socket)[1]
        socket.send(b"bytes")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
        assert closed.value.rcvd.code == 1003
