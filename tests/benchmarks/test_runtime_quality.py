import json

import numpy as np
import paired_scores
import runtime_quality
from record import benchmark

from tests.factories import tiny_model


def test_ways_are_compared_in_pairs(tmp_path, monkeypatch, judges):
    model = {"model": str(tiny_model(tmp_path / "tiny")), "runtime": "torch", "device": "cpu"}
    monkeypatch.setattr(runtime_quality, "WAYS", {"torch": model, "again": model, "fewer": {**model, "flow_steps": 3}})
    monkeypatch.setattr(paired_scores, "REFERENCE", "Hello.")
    (tmp_path / "set.txt").write_text("This is a sentence.\nGood morning.\n")
    words = [
        "--development",
        str(tmp_path / "set.txt"),
        "--whisper",
        "w",
        "--run",
        str(tmp_path / "run"),
        "--threads",
        "1",
    ]
    words += ["--seeds", "2", "--out", str(tmp_path / "x.json")]
    for _ in range(2):
        benchmark("x", "", runtime_quality.measure, runtime_quality.render, runtime_quality.options, words)
        found = json.loads((tmp_path / "x.json").read_text())["results"]
        assert {name: row["changed"] for name, row in found["development"]["variants"].items()} == {
            "torch": 0,
            "again": 0,
            "fewer": 4,
        }
        assert judges["DistilMOS"].calls == 8  # equal sounds are judged once, and nothing twice
    assert "| fewer | 4 |" in (tmp_path / "x.md").read_text()


def test_batches_wait_for_enough_sounds(tmp_path, judges):
    judge = judges["open_transcriber"]
    judge.batch_size, judge.many = 3, lambda sounds: [judge(*sound) for sound in sounds]
    scores = paired_scores.PairedScores(tmp_path, ["a", "b"], "w", 1)
    sounds = {name: np.full(24000, level, np.float32) for name, level in (("a", 0.1), ("b", 0.2))}
    lines = [paired_scores.Line(name, "This is a sentence.", "this is a sentence") for name in "xyz"]
    scores.add(lines[0], sounds, 24000)
    assert not scores.has(lines[0])
    scores.add(lines[1], sounds, 24000, keep=True)
    assert scores.has(lines[0]) and scores.has(lines[1])
    scores.add(lines[2], sounds, 24000)
    scores.judge()
    found = paired_scores.PairedScores(tmp_path, ["a", "b"], "w", 1).files["b"].rows
    assert list(found) == ["x", "y", "z"] and [("sound" in row) for row in found.values()] == [False, True, False]
