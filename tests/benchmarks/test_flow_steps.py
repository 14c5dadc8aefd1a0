"""The benchmark of the steps of the flow, without judges."""

from __future__ import annotations

import json
from pathlib import Path

import flow_steps
import paired_scores
import pytest
import torch
from record import benchmark

from mamtra.acoustic import flow_matching
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.checkpoints.native import save_model
from tests.factories import TINY_FLOW, tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("steps")
    tiny_model(made / "model")
    save_model(made / "few", {"flow": Flow(FlowConfig(**TINY_FLOW, trained_steps=(2,), inference_cfg_rate=0))})
    (made / "lines.txt").write_text("Hello there.\nHow are you.\n")
    return made


def run(folder: Path, *variants: str) -> dict:
    words = [
        "--model",
        str(folder / "model"),
        "--development",
        str(folder / "lines.txt"),
        "--run",
        str(folder / "run"),
        "--fine",
    ]
    words += ["--threads", "1", "--out", str(folder / "x.json"), "--variants", *variants]
    benchmark("flow_steps", "", flow_steps.measure, flow_steps.render, flow_steps.options, words)
    return json.loads((folder / "x.json").read_text())["timed"]


def test_times_and_mels_of_variants_that_are_taken_on_one_by_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired_scores, "REFERENCE", "Hello there.")
    first = run(folder, "8", "2")
    again = run(folder, "8", "2", "2-uniform", f"few={folder / 'few'}:2")
    assert again["lines"] == 2 and list(again["times"]) == ["8", "2", "2-uniform", "few-2"]
    assert again["times"]["8"] == first["times"]["8"]  # kept, not measured again
    errors = {name: one["mel_error"] for name, one in again["times"].items()}
    assert errors["8"] < errors["2"] != errors["2-uniform"]
    page = (folder / "x.md").read_text()
    assert "few-2" in page and "Judged" not in page


def test_the_positions_of_steps_are_those_of_the_flow_again_afterwards() -> None:
    kept = flow_matching.cosine_schedule
    with pytest.raises(RuntimeError), flow_steps.positions(flow_steps.GRIDS["uniform"]):
        assert flow_matching.cosine_schedule(torch.tensor(0.5)) == 0.5
        raise RuntimeError
    assert flow_matching.cosine_schedule is kept
