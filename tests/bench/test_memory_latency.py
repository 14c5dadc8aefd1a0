"""The commands run on a CPU, which counts no memory, and their pages say what the figures say."""

import json

from mamtra.bench import latency, latency_page, memory_page
from mamtra.bench.batch_parts import batch_parts
from mamtra.cli import main
from mamtra.synthesis.audio import Audio
from mamtra.tts import TTS
from tests.factories import tiny_model


def test_memory(tmp_path):
    assert main(["bench", "memory", "--tiny", "--device", "cpu", "-o", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "bench_memory.json").read_text())
    assert {row["ratio"] for row in result["rows"]} == {"1:0", "1:1", "1:5", "1:11"}
    sizes = {(row["system"], row["streams"]): row["weights_bytes"] for row in result["rows"] if row["ratio"] == "1:1"}
    assert sizes["engine, int8 weights", 1] < 0.5 * sizes["engine", 1]
    for row in result["rows"]:
        row["peak_bytes"] = int({"1:0": 2e9, "1:1": 1.2e9, "1:5": 0.7e9, "1:11": 0.6e9}[row["ratio"]])
    page = memory_page.render(result)
    assert "| 1:1 against the teacher, many streams | 0.60 | 0.60 |" in page
    assert "| 1:1, engine, one stream, GB | 1.20 | 0.85 |" in page
    assert (tmp_path / "bench_memory.svg").read_text().count("original") >= 2


def test_latency(tmp_path, monkeypatch):
    monkeypatch.setattr("mamtra.bench.latency.TOKENS", 8)
    monkeypatch.setattr("mamtra.bench.latency.RUNS", 3)

    class Voice:
        def voice(self):
            pass

        def say(self, text, seed=0):
            return Audio([0.0] * 24000, 24000, text, seed, "a", 25, "eos", 0.1, 1.0)

        def batch(self, texts):
            return [self.say(text.text) for text in texts]

        def stream(self, text, seed=0):
            return iter([self.say(text)])

    monkeypatch.setattr(TTS, "load", lambda *_, **__: Voice())
    monkeypatch.setattr(latency, "batch_parts", lambda *_: {"speech tokens": [0.125], "sound": [0.05]})
    assert main(["bench", "latency", "--tiny", "--device", "cpu", "-o", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "bench_latency.json").read_text())
    assert [row["inputs"] for row in result["rows"] if "token" in row] == [20] * 3
    ways = [row for row in result["rows"] if "seconds" in row]
    assert [row["audio_seconds"] for row in ways] == [2.0] * 3
    for row, seconds in zip(ways, (4.0, 0.25, 1.0), strict=True):
        row["seconds"]["median"] = seconds
    (prompt,) = [row for row in result["rows"] if "restored" in row]
    prompt["fed"], prompt["restored"] = ({"median": ms, "least": ms, "most": ms} for ms in (9.0, 2.5))
    page = latency_page.render(result)
    assert "| 8.0 | 16.0 |" in page and "| 2.0 | 4.0 |" in page
    assert "| 1:1 | 15 | 9.00 (9.00 to 9.00) | 2.50 (2.50 to 2.50) | 6.50 |" in page
    assert "| speech tokens | 0.125 (0.125 to 0.125) | 50% | 32.0 |" in page


def test_parts_of_a_batch(tmp_path):
    tts = TTS.load(tiny_model(tmp_path / "tiny"), device="cpu")
    found = batch_parts(tts, ["Good morning.", "Seven."], 1)
    assert [*found] == ["text", "speech tokens", "check of what was read", "sound"]
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in found.values())
