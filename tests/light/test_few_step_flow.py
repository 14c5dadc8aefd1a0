"""A few-step flow with ONNX Runtime against torch, and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mamtra
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.native import save_model
from mamtra.errors import MamTraError
from mamtra.light.export import export_onnx, open_exported
from mamtra.light.model import LightModel
from tests.factories import TINY_FLOW, tiny_model


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose flow takes 2 or 4 steps, with random weights in the embedding of their lengths too."""
    made = tiny_model(tmp_path_factory.mktemp("few"))
    torch.manual_seed(3)
    flow = Flow(FlowConfig(**TINY_FLOW, trained_steps=(2, 4), inference_cfg_rate=0))
    torch.nn.init.normal_(flow.decoder.estimator.length_mlp.linear_2.weight)
    return save_model(made, {"flow": flow}, generation=GenerationConfig(max_ratio=3.0, flow_steps=4))


@pytest.mark.parametrize("steps", [2, 4])
def test_mel(few: Path, steps: int) -> None:
    theirs = mamtra.load(few, runtime="torch", flow_steps=steps).model
    light = LightModel(few, threads=1, exact=True)
    light.generation = light.generation.model_copy(update={"flow_steps": steps})
    rng = np.random.default_rng(1)
    tokens, prompt = rng.integers(0, 6561, 40), rng.integers(0, 6561, 7)
    mel, embedding = rng.standard_normal((14, 80), np.float32), rng.standard_normal(16, np.float32)
    given = [torch.from_numpy(part[None]) for part in (tokens, prompt, mel, embedding)]
    expected = theirs.flow.inference(*given, steps=steps)[0].numpy()
    np.testing.assert_allclose(light.flow.whole(tokens, prompt, mel, embedding), expected, atol=2e-4)
    other = theirs.flow.inference(*given, steps=6 - steps)[0].numpy()
    assert np.abs(other - expected).max() > 0.01
    chunked = theirs.flow.inference(*given, steps=steps, streaming=True)[0].numpy()
    found = light.flow.stream(prompt, mel, embedding).push(list(tokens), final=True)
    np.testing.assert_allclose(found, chunked, atol=2e-4)


def test_other_steps_are_refused_and_the_graph_is_exported(few: Path, tmp_path: Path) -> None:
    with pytest.raises(MamTraError, match="trained for 2 or 4 steps and cannot take 3"):
        mamtra.load(few, runtime="onnx", flow_steps=3)
    made = export_onnx(few, tmp_path / "graphs")
    assert "length" in {given.name for given in open_exported(made)["flow_step"].get_inputs()}
    assert len(mamtra.load(made, runtime="onnx").say("hello there").samples)


def test_a_directory_that_asks_for_other_steps_is_refused_when_it_speaks(few: Path, tmp_path: Path) -> None:
    wrong = save_model(tmp_path / "wrong", {}, base=str(few), generation=GenerationConfig(flow_steps=10))
    for runtime in ("torch", "onnx"):
        with pytest.raises(MamTraError, match="trained for 2 or 4 steps and cannot take 10"):
            mamtra.load(wrong, runtime=runtime).say("hello there")
