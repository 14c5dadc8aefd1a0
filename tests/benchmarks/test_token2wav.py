"""All phases of the benchmark make the samples they claim to make, at tiny sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import token2wav
import token2wav_phases
import torch

from tests.rerun import Rerun

CPU = torch.device("cpu")


@pytest.fixture
def model(tmp_path):
    return token2wav.build(CPU, False, True, tmp_path)


@pytest.mark.parametrize("graphs", [False, True])
def test_hops_are_those_of_the_stream(model, graphs):
    """Streaming and from scratch cut alike, at whole chunks, and make the same mel and so nearly the same sound."""
    voice, sounds = token2wav.make_voice(), {}
    if graphs:
        model.flow.use_graphs(Rerun())
        model.vocoder.use_graphs(Rerun())
    for phase in ("streaming", "from scratch"):
        work, seconds = token2wav.PHASES[phase](model, voice, 2, 250)
        heard = []
        sounds[phase] = work(lambda heard=heard: heard.append(1))
        assert len(heard) == 5 and seconds == 20
    for ours, theirs in zip(*sounds.values(), strict=True):
        assert ours.shape == theirs.shape == (240000,)
        # the noise is drawn in another order, but loudness follows the mel
        assert np.abs(ours).mean() == pytest.approx(np.abs(theirs).mean(), rel=0.05)


def test_lengths_differ():
    assert token2wav_phases.varied(1, 250) == [250]
    assert token2wav_phases.varied(5, 250) == [200, 225, 250, 275, 300]


def test_the_most_informative_rows_come_first():
    rows = token2wav.plan_rows(torch.device("cuda"), [1, 8, 32], ["bf16", "float32"])
    assert len(rows) == len(set(rows)) == 24
    assert [(row.batch, row.phase) for row in rows[:3]] == [(1, phase) for phase in token2wav.PHASES]
    assert all(row.graphs for row in (*rows[:9], *rows[18:])) and not any(row.graphs for row in rows[9:18])
    assert {(row.precision, row.batch) for row in rows[18:]} == {("float32", 1), ("float32", 8)}
    assert not any(row.graphs for row in token2wav.plan_rows(CPU, [1], ["float32"]))


def test_graphs_are_compared_with_what_they_replace(model, monkeypatch):
    made = []
    monkeypatch.setattr(token2wav, "GraphCache", lambda device: made.append(Rerun()) or made[-1])
    found = token2wav.compare(model, token2wav.make_voice(), 100)
    assert found["eager_again"] <= found["relative_rms"] < 1e-5 and found["graphs_captured"] == made[0].count > 1
    assert not found["graphs_refused"]


def test_the_page_and_the_record(tmp_path):
    words = ["--tiny", "--device", "cpu", "--batches", "1,2", "--tokens", "50", "--runs", "1", "--seconds", "600"]
    token2wav.main([*words, "--precisions", "bf16", "--out", str(tmp_path / "token2wav.json")])
    result = json.loads((tmp_path / "token2wav.json").read_text())
    assert [(row["phase"], row["batch"]) for row in result["rows"]] == [
        (phase, batch) for batch in (1, 2) for phase in token2wav.PHASES
    ]
    assert all(row["finite"] and row["runs"] == 1 for row in result["rows"])
    scratch, stream = result["rows"][:2]
    assert token2wav.ratio(result["rows"], scratch) == 1
    wanted = stream["audio_a_second"] / scratch["audio_a_second"]
    assert token2wav.ratio(result["rows"], stream) == pytest.approx(wanted)
    assert (tmp_path / "token2wav.md").read_text().count(f"| {wanted:.2f} |") == 2  # of the two tables


def row(batch: int, phase: str, graphs: bool, speed: float | None) -> dict:
    found = {"failed": "out of memory"} if speed is None else {"audio_a_second": speed}
    return {"precision": "bf16", "batch": batch, "phase": phase, "graphs": graphs, **found}


def test_ratios_are_to_what_is_launched_alike_and_best_to_best():
    rows = [row(1, "from scratch", True, 8.0), row(1, "streaming", True, 40.0), row(1, "offline", True, None)]
    rows += [row(1, "from scratch", False, 10.0), row(1, "streaming", False, 20.0), row(8, "streaming", True, 5.0)]
    assert [token2wav.ratio(rows, one) for one in rows] == [1, 5, None, 1, 2, None]
    assert token2wav.best(rows, "bf16", 1, "from scratch") == 10
    assert token2wav.summary(rows).splitlines()[2:] == [
        "| bf16 | 1 | 10.0 | 40.0 | - | 4.00 | - |",
        "| bf16 | 8 | - | 5.0 | - | - | - |",
    ]


def test_a_row_that_fails_is_named(model, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setitem(token2wav.PHASES, "streaming", fails)
    found = token2wav.measure_row(token2wav.Row("float32", 1, "streaming", True), model, None, 50, 1, 0)
    assert found == {"failed": "out of memory"}


def test_a_killed_run_keeps_its_rows(tmp_path, monkeypatch):
    calls = []

    def dies(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"failed": "on purpose"}

    monkeypatch.setattr(token2wav, "measure_row", dies)
    with pytest.raises(KeyboardInterrupt):
        token2wav.main(["--tiny", "--device", "cpu", "--out", str(tmp_path / "token2wav.json")])
    assert len(json.loads((tmp_path / "token2wav.json").read_text())["rows"]) == 1
    assert "8 of 9 rows were left out" in (tmp_path / "token2wav.md").read_text()
