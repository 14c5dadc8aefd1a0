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
    """One by one and from scratch cut alike, at whole chunks, and make the same mel and so nearly the same sound."""
    voice, sounds = token2wav.make_voice(), {}
    if graphs:
        model.flow.use_graphs(Rerun())
        model.vocoder.use_graphs(Rerun())
    for phase in ("one by one", "from scratch"):
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
    rows = token2wav.plan_rows(torch.device("cuda"))
    assert len(rows) == len(set(rows)) == 20
    of_goals = [
        ("hops", 10, 1),
        ("hops", 10, 32),
        ("hops", 10, 64),
        ("offline", 10, 32),
        ("hops", 2, 64),
        ("hops", 2, 256),
    ]
    assert [(row.phase, row.steps, row.batch) for row in rows[:6]] == of_goals
    assert {row.batch for row in rows if row.phase == "hops"} == {1, 8, 32, 64, 128, 256}
    assert {(row.phase, row.steps) for row in rows if row.steps != token2wav.STEPS} == {("hops", token2wav.FEW)}


def test_hops_are_one_stream(model):
    assert token2wav.compare(model, token2wav.make_voice(), 60)["relative_rms"] < 1e-3


@pytest.mark.parametrize("steps", [token2wav.STEPS, token2wav.FEW])
def test_rows_of_hops(tmp_path, steps):
    model = token2wav.build(CPU, False, True, tmp_path, steps)
    found = token2wav.measure_row(token2wav.Row(2, "hops", steps), model, token2wav.make_voice(), 50, 1, 0)
    assert found["finite"] and found["audio_seconds"] == 4 and found["runs"] == 1
    assert found["hop_ms"] > 0 and found["stream_bytes"] > 0 and found["parts_ms"] is None


def row(batch: int, phase: str, speed: float | None, steps: int = token2wav.STEPS, **more: object) -> dict:
    found = {"failed": "out of memory"} if speed is None else {"audio_a_second": speed}
    times = dict.fromkeys(("seconds", "fastest", "slowest", "first_sound_ms"), 1.0)
    return {"batch": batch, "phase": phase, "steps": steps, "peak_bytes": 2**30, **times, **found, **more}


def test_the_page():
    parts = {"encoder": 1.0, "estimator": 7.0, "vocoder": 2.0}
    hops = row(64, "hops", 90.0, 2, hop_ms=10.0, stream_bytes=25_000_000, parts_ms=parts)
    rows = [row(1, "one by one", 8.0), row(8, "one by one", 30.0), hops, row(8, "hops", 60.0), row(1, "offline", None)]
    assert [token2wav.before(rows, one) for one in rows] == [1, 1, 3, 2, None]
    made = {"rows": rows, "planned": 9, "hops_to_one_stream": {"relative_rms": 1e-5}, "tiny": True, "tokens": 250}
    page = token2wav.render({**made, "device": "CPU", **token2wav_circumstances()})
    assert "| 64 | hops | 2 | 90 | 3.00 |" in page and "out of memory" in page and "25.0 MB with 2 steps" in page
    assert "4 of 9 rows were left out" in page and "| 64 | 2 | 1.0 | 7.0 | 2.0 | 10.0 |" in page


def token2wav_circumstances() -> dict:
    from record import made_with

    return made_with(1)


def test_a_row_that_fails_is_named(model, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setitem(token2wav.PHASES, "one by one", fails)
    found = token2wav.measure_row(token2wav.Row(1, "one by one", token2wav.STEPS), model, None, 50, 1, 0)
    assert found == {"failed": "out of memory"}


def test_a_killed_run_keeps_its_rows(tmp_path, monkeypatch):
    calls = []

    def dies(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"failed": "on purpose"}

    monkeypatch.setattr(token2wav, "measure_row", dies)
    monkeypatch.setattr(token2wav, "compare", lambda *_: {"relative_rms": 0.0})
    with pytest.raises(KeyboardInterrupt):
        token2wav.main(["--tiny", "--device", "cpu", "--out", str(tmp_path / "token2wav.json")])
    assert len(json.loads((tmp_path / "token2wav.json").read_text())["rows"]) == 1
    assert "7 of 8 rows were left out" in (tmp_path / "token2wav.md").read_text()


def test_figures_of_an_earlier_record(tmp_path):
    rows = [{"precision": "bf16", "batch": 8, "phase": "streaming", "audio_a_second": speed} for speed in (90.0, 120.0)]
    rows += [{**rows[0], "precision": "float32", "audio_a_second": 500.0}, {**rows[0], "batch": 32, "failed": "no"}]
    (tmp_path / "old.json").write_text(json.dumps({"commit": "abc", "device": "GPU", "rows": rows}))
    earlier = token2wav.earlier_of(tmp_path / "old.json")
    assert earlier == {"commit": "abc", "device": "GPU", "audio_a_second": {"streaming": {"8": 120.0}}}
