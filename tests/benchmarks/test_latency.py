import json
import time

import latency
import pytest

from mamtra.tts import load
from tests.factories import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def known_words(monkeypatch):
    """Texts of the few words that the tiny model can read."""
    texts = {"short": "Hello.", "medium": "This is a sentence.", "long": "Good morning. How are you?"}
    for name, text in texts.items():
        monkeypatch.setitem(latency.TEXTS, name, text)
    monkeypatch.setattr(latency, "COLD_TEXT", "Hello.")


def test_the_whole_benchmark(model, known_words, tmp_path):
    out = tmp_path / "results" / "latency.json"
    latency.main(["--model", str(model), "--runs", "1", "--threads", "1", "--out", str(out)])
    results = json.loads(out.read_text())
    assert 0.3 < results["cold_seconds"]["median"] < 120 and results["cold_seconds"]["runs"] == 1
    assert 5e7 < results["peak_bytes"] < 1e10
    assert [row["sentences"] for row in results["warm"].values()] == [1, 1, 2]
    long = results["warm"]["long"]
    assert 0 < long["first_sound_ms"]["median"] < 1000 * long["rtf"]["median"] * long["seconds_of_sound"]
    stage = results["stages"]
    assert stage["lm_ms"]["median"] == pytest.approx(stage["tokens"] * stage["lm_ms_per_token"]["median"])
    assert all(stage[name]["median"] > 0 for name in ("text_ms", "flow_ms", "vocoder_ms"))
    page = out.with_suffix(".md").read_text()
    assert latency.render(results) == page and "real-time factor" in page and str(tmp_path) not in page
    assert results["model"] == {"name": "tiny", "voice": "tiny", "flow_steps": 2}


def test_a_timed_part_is_the_part(model):
    flow = load(model).model.flow

    class Slow:
        config = flow.config

        def inference(self, value, *, twice):
            time.sleep(0.02)
            return (value, twice)

    timed = latency.Timed(Slow())
    assert timed.inference(1, twice=2) == (1, 2) and timed.config is flow.config
    assert timed.seconds >= 0.02
