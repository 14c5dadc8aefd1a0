"""The embedded voice itself, with either runtime."""

import httpx2
import numpy as np
import pytest

from mamtra.light.choice import installation_problem
from mamtra.tts import load
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
