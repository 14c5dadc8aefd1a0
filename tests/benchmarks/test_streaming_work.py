import json

import numpy as np
import pytest
import streaming_work

from tests.factories import tiny_model


def test_the_whole_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming_work, "TEXT", "This is a sentence of seven words. Good morning.")
    model, out = tiny_model(tmp_path / "tiny"), tmp_path / "results" / "streaming_work.json"
    streaming_work.main(["--model", str(model), "--seconds", "3", "6", "--threads", "1", "--out", str(out)])
    results = json.loads(out.read_text())
    assert [row["tokens"] for row in results["lengths"].values()] == [75, 150]
    long = results["lengths"]["6"]
    assert long["prompt"]["flow_frames"] == 0  # ten tokens are no chunk yet
    assert long["one_pass"]["flow_frames"] == 2 * (10 + 150) and long["one_pass"]["vocoder_frames"] == 300
    even, growing = (long["schedules"][name] for name in ("even", "growing"))
    assert even["hops"] == [43, 68, 93, 118, 143, 150] and growing["hops"] == [43, 68, 118, 150]
    assert even["cached"]["flow_frames"] == growing["cached"]["flow_frames"] == 2 * (10 + 150)
    assert even["scratch"]["flow_frames"] == 2 * sum(10 + end - 3 for end in even["hops"][:-1]) + 2 * 160
    assert 300 < even["cached"]["vocoder_frames"] < even["scratch"]["vocoder_frames"]
    assert even["scratch"]["gflops"] > 2 * even["cached"]["gflops"] > 0
    for found in (even, growing):
        assert found["seams"]["max_abs"] < 1e-4 and found["memory_bytes"] > 0
    assert long["chunked_mel_to_whole"]["max_abs"] > 1e-3
    page = out.with_suffix(".md").read_text()
    assert streaming_work.render(results) == page and str(tmp_path) not in page


def test_differences():
    found = streaming_work.differences(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    assert found == {"max_abs": 1.0, "relative_rms": pytest.approx(0.5**0.5), "peak": 1.0}
