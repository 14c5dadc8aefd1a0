"""Qwen2 and Llama as transformers saves them: without Mamba layers the converted model is the same function."""

from __future__ import annotations

import pytest
import torch

from mamtra import LayerPlan, convert
from mamtra.checkpoints.native import load_part

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


def transformers_model(kind, tied, directory, **options):
    transformers = pytest.importorskip("transformers")
    config, model = {
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    }[kind]
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    rope = (
        {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}
        if kind == "llama"
        else {"rope_type": "default", "rope_theta": 3e4}
    )
    torch.manual_seed(0)
    lm = model(config(**sizes, num_key_value_heads=2, vocab_size=60, tie_word_embeddings=tied, rope_parameters=rope))
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    lm.eval().save_pretrained(directory, **options)
    return lm


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}])
def test_conversion_without_mamba_computes_what_transformers_does(tmp_path, kind, tied, options):
    theirs = transformers_model(kind, tied, tmp_path / "src", **options)
    assert len(list((tmp_path / "src").glob("*.safetensors"))) > 1 or not options
    convert(tmp_path / "src", tmp_path / "dst", LayerPlan.from_ratio(3, "1:0"))
    mine = load_part(tmp_path / "dst", "causal_lm")
    ids = torch.randint(0, 60, (2, 90), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(ids).logits
        found = mine.logits(mine(mine.embed(ids)))
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
