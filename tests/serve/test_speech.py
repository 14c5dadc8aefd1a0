"""`POST /v1/audio/speech`."""

import base64
import io
import itertools
import json
import threading
import wave

import av
import httpx2
import numpy as np
import pytest

from mamtra.audio.watermark import mark
from mamtra.tts import load

TEXT = "Hello there. How are you?"
MIMES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip


def say(client, **fields):
    return client.post("/v1/audio/speech", json={"input": TEXT, "seed": 3, **fields})


def events(answer):
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def as_players_read_it(content):
    """Samples at 24 kHz; a stream's header may not tell its length."""
    with av.open(io.BytesIO(content)) as file:
        resampler = av.AudioResampler("fltp", "mono", 24000)
        planes = [plane.to_ndarray()[0] for frame in file.decode(audio=0) for plane in resampler.resample(frame)]
    return np.concatenate(planes)


@pytest.fixture(scope="module")
def samples(model_directory):
    return np.concatenate([chunk.samples for chunk in load(model_directory).stream(TEXT, "tiny", seed=3)])


@pytest.mark.parametrize("whole", [False, True])
def test_a_server_that_marks(told, samples, whole):
    _, client = told(watermark="mine")
    answer = client.post(
        "/v1/audio/speech", json={"input": "one two three", "response_format": "pcm", "stream": not whole}
    )
    chunks = [mark(np.sin(np.arange(2400) * 0.05).astype(np.float32) / 2, 24000, 2400 * n, "mine") for n in range(3)]
    np.testing.assert_allclose(np.frombuffer(answer.content, "<i2") / 32767, np.concatenate(chunks), atol=1e-4)


@pytest.mark.parametrize("fmt", sorted(MIMES))
@pytest.mark.parametrize("whole", [False, True])
def test_every_format_holds_what_was_said(client, samples, fmt, whole):
    answer = say(client, response_format=fmt, stream=not whole)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == MIMES[fmt] and answer.headers["x-seed"] == "3"
    assert ("content-length" in answer.headers) == whole
    found = np.frombuffer(answer.content, "<i2") / 32767 if fmt == "pcm" else as_players_read_it(answer.content)
    assert abs(len(found) - len(samples)) < 24000 * 0.15
    if fmt in ("pcm", "wav", "flac") and not whole:
        assert np.abs(found - samples).max() < 1e-4


@pytest.mark.parametrize("whole", [False, True])
def test_steps_of_the_flow_are_those_that_a_request_asks_for(client, model_directory, whole):
    found = {
        steps: say(client, response_format="pcm", stream=not whole, flow_steps=steps).content for steps in (None, 2, 4)
    }
    tts = load(model_directory, flow_steps=4)
    chunks = [tts.say(TEXT, "tiny", seed=3)] if whole else tts.stream(TEXT, "tiny", seed=3)
    wanted = np.concatenate([chunk.samples for chunk in chunks])
    assert found[2] == found[None] != found[4]
    assert np.abs(np.frombuffer(found[4], "<i2") / 32767 - wanted).max() < 1e-4


@pytest.mark.parametrize(
    ("steps", "sentence"), [(0, "flow_steps 0 is out of range; use 1 to 32."), (33, "use 1 to 32.")]
)
def test_steps_that_no_request_may_ask_for(client, steps, sentence):
    answer = say(client, flow_steps=steps)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "flow_steps"
    assert answer.json()["error"]["message"].endswith(sentence)


@pytest.mark.parametrize("steps", [True, 2.5, "2", -1, 10**7])
def test_steps_of_another_type(client, steps):
    assert say(client, flow_steps=steps).status_code == 400


def test_a_complete_wav_file_is_read_by_the_standard_library(client):
    with wave.open(io.BytesIO(say(client, response_format="wav", stream=False).content)) as file:
        assert file.getnframes() > 10000


@pytest.mark.parametrize("fmt", sorted(MIMES))
def test_events_hold_the_same_bytes_as_the_stream(client, fmt):
    found = events(say(client, response_format=fmt, stream_format="sse"))
    deltas, done = found[:-1], found[-1]
    assert all(event["type"] == "speech.audio.delta" for event in deltas)
    joined = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    assert joined == say(client, response_format=fmt).content
    usage = done["usage"]
    assert done["type"] == "speech.audio.done" and usage["input_tokens"] > 5 and usage["output_tokens"] > 5
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_the_format_is_mp3_where_none_is_named(client):
    assert client.post("/v1/audio/speech", json={"input": "Hi."}).headers["content-type"] == "audio/mpeg"


def test_a_seed_that_is_not_given_is_told_and_gives_the_same_audio_again(client):
    first = say(client, seed=None, response_format="pcm")
    again = say(client, seed=int(first.headers["x-seed"]), response_format="pcm")
    assert first.content == again.content
    assert first.content != say(client, seed=int(first.headers["x-seed"]) + 1, response_format="pcm").content


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_another_sample_rate(client, samples, rate):
    answer = say(client, response_format="pcm", sample_rate=rate)
    assert answer.headers["x-sample-rate"] == str(rate)
    assert abs(len(answer.content) / 2 - len(samples) * rate / 24000) < 10


def test_the_sound_says_that_a_machine_made_it(client):
    for fmt in ("mp3", "opus", "flac", "wav"):
        for stream in (True, False):
            answer = say(client, input="Hi.", response_format=fmt, stream=stream)
            assert b"AI-generated" in answer.content and answer.headers["x-ai-generated"] == "true"


def test_speed(client, samples):
    slow = say(client, response_format="pcm", speed=0.5)
    assert len(slow.content) / 2 > 1.5 * len(samples)


@pytest.mark.parametrize("voice", ["tiny", "alloy", "marin", {"id": "tiny"}, {"id": "cedar"}, None])
def test_names_of_voices(client, voice):
    assert say(client, voice=voice, response_format="pcm").content == say(client, response_format="pcm").content


def test_instructions_are_ignored_aloud_by_a_model_that_follows_none(client):
    answer = say(client, instructions="Speak like a pirate.")
    assert answer.status_code == 200 and answer.headers["x-ignored"] == "instructions"


def test_any_model_name_is_served_unless_the_server_is_strict(client, told):
    assert say(client, model="gpt-9-tts").status_code == 200
    _, strict = told(strict_models=True)
    assert say(strict, model="told").status_code == 200
    answer = say(strict, model="tts-1")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"
    assert [each["id"] for each in strict.get("/v1/models").json()["data"]] == ["told"]


def test_audio_comes_while_more_is_made(told):
    """The second chunk is made only once the first has been heard."""
    heard = threading.Event()
    _, client = told(lambda n, text: n != 1 or heard.wait(20))
    body = {"input": "one two three", "response_format": "pcm"}
    with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        parts = answer.iter_raw()
        assert len(next(parts)) == 4800
        heard.set()
        assert sum(map(len, parts)) == 9600


def test_an_error_after_the_first_audio_breaks_the_connection_off(told):
    def fail(n, text):
        if n == 2:
            raise RuntimeError("broken")

    tts, client = told(fail)
    body = {"input": "one two three", "response_format": "pcm"}
    with pytest.raises(httpx2.RemoteProtocolError):
        client.post("/v1/audio/speech", json=body)
    found = client.post("/v1/audio/speech", json={**body, "stream_format": "sse"}).text
    assert "speech.audio.error" in found and "[DONE]" not in found and "broken" not in found
    assert tts.closed == ["one two three"] * 2


def test_an_error_before_the_first_audio_has_a_status_and_leaks_nothing(told):
    def fail(n, text):
        raise RuntimeError("/secret/path")

    _, client = told(fail)
    answer = client.post("/v1/audio/speech", json={"input": "one"})
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [True, False])
def test_words_and_their_times_on_request(client, stream):
    found = say(client, word_timestamps=True, stream=stream, response_format="pcm").json()
    samples = base64.b64decode(found["audio"])
    assert samples == say(client, stream=stream, response_format="pcm").content
    assert (found["format"], found["sample_rate"], found["seed"]) == ("pcm", 24000, 3)
    words = found["words"]
    assert [each["word"] for each in words] == TEXT.split() and words[0]["start"] == 0
    assert all(one["start"] < one["end"] <= two["start"] for one, two in itertools.pairwise(words))
    assert words[-1]["end"] == pytest.approx(len(samples) / 48000, abs=2e-3)
    done = events(say(client, word_timestamps=True, stream=stream, stream_format="sse"))[-1]
    assert done["words"] == words
    assert "words" not in events(say(client, stream_format="sse"))[-1]
