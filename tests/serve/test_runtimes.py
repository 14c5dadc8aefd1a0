"""The embedded voice itself, with either runtime."""

import asyncio
import gc

import httpx2
import numpy as np
import pytest

from mamtra.engine.stats import EngineStats
from mamtra.light.choice import installation_problem
from mamtra.serve.admission import Admission
from mamtra.serve.memory import bytes_needed
from mamtra.serve.speaking import MOST_AHEAD
from mamtra.synthesis.audio import Audio
from mamtra.tts import load
from tests.factories import reference
from tests.serve.conftest import running

runtimes = [
    "torch",
    pytest.param("onnx", marks=pytest.mark.skipif(installation_problem() is not None, reason="no ONNX Runtime")),
]


@pytest.mark.parametrize("runtime", runtimes)
def test_a_stream_is_what_the_model_streams(runtime):
    tts = load(runtime=runtime)
    with running(tts) as address:
        body = {"input": "Hello there.", "voice": "nora", "seed": 2, "response_format": "pcm"}
        streamed = httpx2.post(f"{address}/v1/audio/speech", json=body, timeout=120)
        timed = httpx2.post(
            f"{address}/v1/text-to-speech/nora/with-timestamps", json={"text": "Hello there."}, timeout=120
        )
    samples = np.frombuffer(streamed.content, "<i2") / 32767
    expected = np.concatenate([chunk.samples for chunk in tts.stream("Hello there.", "nora", seed=2)])
    assert np.abs(samples - expected).max() < 1e-3
    assert "".join(timed.json()["alignment"]["characters"]) == "Hello there."


@pytest.mark.parametrize("runtime", runtimes)
@pytest.mark.parametrize(("model", "steps"), [("mini", 3), ("mini-fast", 4)])
def test_steps_of_the_flow_for_a_request(runtime, model, steps):
    asked = {"seed": 2, "response_format": "pcm", "flow_steps": steps}
    with running(load(model, runtime=runtime)) as address:
        answers = [
            httpx2.post(
                f"{address}/v1/audio/speech", json={"input": "Hi.", "voice": "nora", **asked, **more}, timeout=120
            )
            for more in ({}, {"stream": False}, {"flow_steps": 3 if model == "mini-fast" else 99})
        ]
    tts = load(model, runtime=runtime, flow_steps=steps)
    expected = Audio.joined(list(tts.stream("Hi.", "nora", seed=2))), tts.say("Hi.", "nora", seed=2)
    for answer, audio in zip(answers, expected, strict=False):
        assert np.abs(np.frombuffer(answer.content, "<i2") / 32767 - audio.samples).max() < 1e-3
    message = "trained for 2 or 4 steps and cannot take 3" if model == "mini-fast" else "flow_steps 99 is out of range"
    assert answers[2].status_code == 400 and message in answers[2].json()["error"]["message"]


@pytest.mark.parametrize("runtime", runtimes)
def test_a_voice_of_a_recording_is_added_and_spoken_with(runtime, tmp_path, monkeypatch):
    monkeypatch.setenv("MAMTRA_HOME", str(tmp_path / "home"))
    form = {"name": "me", "consent": "It is my own voice."}
    files = {"audio_sample": ("me.wav", reference(tmp_path / "me.wav").read_bytes(), "audio/wav")}
    with running(load(runtime=runtime)) as address:
        added = httpx2.post(f"{address}/v1/audio/voices", data=form, files=files, timeout=120)
        spoken = httpx2.post(f"{address}/v1/audio/speech", json={"input": "Hi.", "voice": "me"}, timeout=120)
    assert added.status_code == 201, added.text
    assert spoken.status_code == 200, spoken.text


@pytest.mark.parametrize("runtime", runtimes)
def test_what_a_model_tells_of_its_memory(runtime):
    tts = load(runtime=runtime)
    assert tts.decoding == EngineStats() and tts.flow_bytes == 0
    stream = tts.stream("Hello there, how are you today, and what shall we talk about?", "nora")
    next(stream)
    speaking, more = tts.decoding, tts.flow_bytes
    config = tts.model.config["lm"]
    channels = (config["num_attention_heads"] + 2 * config["num_key_value_heads"]) * config["head_dim"]
    conv = (config["mamba_conv_kernel"] - 1) * channels
    states = conv + config["num_attention_heads"] * config["head_dim"] ** 2
    layers, kept = config["layer_types"].count("linear_attention"), 2 if runtime == "onnx" else 1
    assert (speaking.running, speaking.waiting) == (1, 0) and speaking.state_bytes == 4 * kept * layers * states
    position = 4 * 2 * config["num_key_value_heads"] * config["head_dim"] * (len(config["layer_types"]) - layers)
    assert speaking.kv_bytes % position == 0 and speaking.kv_bytes >= 20 * position
    for _ in stream:
        pass
    del stream
    gc.collect()
    assert tts.decoding == EngineStats() and 0 < tts.flow_bytes < more  # the prompt is kept


@pytest.mark.parametrize("runtime", runtimes)
def test_memory_of_a_stream_is_known_before_it_begins(runtime):
    tts, text = load(runtime=runtime), "Hello there, how are you today, and what shall we talk about?"
    assert sum(chunk.tokens for chunk in tts.stream("Hello there.", "nora")) > 10
    (segment,) = tts.model.text.segments(text)
    kept, known, most = tts.flow_bytes, tts.stream_bytes(len(segment.ids)), tts.stream_bytes()
    taken = 0
    for _ in tts.stream(text, "nora", seed=3):
        now = tts.decoding
        taken = max(taken, now.kv_bytes + now.state_bytes + tts.flow_bytes - kept)
    assert 0.2 * known < taken <= known < most
    own = tts.model.generation.flow_steps
    twice = tts.stream_bytes(len(segment.ids), 2 * own)
    assert known < twice < 2 * known and tts.stream_bytes(len(segment.ids), own) == known
    admission = Admission(4, 4, 1.0)
    assert asyncio.run(bytes_needed(tts, admission, text, 2 * own)) == tts.stream_bytes(None, 2 * own) + MOST_AHEAD
    admission.budget = 1
    assert asyncio.run(bytes_needed(tts, admission, text, 2 * own)) == twice + MOST_AHEAD
    tts.model.generation = tts.model.generation.model_copy(update={"flow_history": 100})
    assert tts.stream_bytes() < most and tts.stream_bytes(20) <= known
