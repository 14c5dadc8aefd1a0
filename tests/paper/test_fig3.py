"""Figure 3 measures memory by component; a CPU counts nothing but what lies where."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from mamtra.acoustic.flow import FlowConfig
from mamtra.acoustic.hift import HiFTConfig
from mamtra.cost.measured_memory import random_lm
from mamtra.errors import MamTraError
from mamtra.paper import fig3
from mamtra.paper.api import choose
from tests.factories import TINY_FLOW


def test_every_system_has_its_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(fig3, "FlowConfig", lambda: FlowConfig(**TINY_FLOW))
    monkeypatch.setattr(fig3, "HiFTConfig", lambda: HiFTConfig(base_channels=16, f0_channels=8, nb_harmonics=2))
    monkeypatch.setattr(fig3, "random_lm", partial(random_lm, tiny=True))
    for name, value in {"INPUTS": 12, "TOKENS": 8, "PROMPT": 4, "STEPS": 1, "RATIOS": ("1:1",)}.items():
        monkeypatch.setattr(fig3, name, value)
    rows = {row["system"]: row for row in fig3.measure(torch.device("cpu"))}
    assert rows["original, float32"]["text"] > 0 == rows["1:1"]["text"]
    assert rows["1:1, flow in bfloat16"]["flow"] < 0.6 * rows["1:1"]["flow"]
    assert rows["1:1, int8 LM, flow in bfloat16"]["lm"] < 0.6 * rows["1:1"]["lm"]
    assert rows["1:0"]["cache"] == rows["original, float32"]["cache"] == rows["original, fp16=True"]["cache"] * 2
    for row in rows.values():
        row["total"] = 1000 + len(row["system"])
    found = {"device": "CPU", "rows": list(rows.values())}
    assert "| 1:1, graphs |" in fig3._page(found)
    fig3._draw(found, tmp_path / "fig3.svg")
    assert "vocoder" in (tmp_path / "fig3.svg").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu():
    with pytest.raises(MamTraError, match="needs a CUDA device"):
        fig3._find()
    assert "fig3" not in choose(["all"], trained=True)
    assert "fig3" in choose(["all"], trained=True, rendered=True)
