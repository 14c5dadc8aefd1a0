"""The plain causal LM: the same properties as the speech LM, and a head that may be the table."""

from __future__ import annotations

import pytest
import torch

from mamtra.engine.packed_step import PackedDecoder
from mamtra.models.causal_lm import CausalLM
from mamtra.models.config import CausalLMConfig
from mamtra.ops.rope import Llama3Scaling
from tests.factories import small_sizes


def build(tied: bool, bias: bool) -> CausalLM:
    sizes = small_sizes("ama", hidden_size=24, intermediate_size=40, vocab_size=50, tie_word_embeddings=tied)
    config = CausalLMConfig(**sizes, attention_bias=bias, rope_theta=1e4, rope_scaling=Llama3Scaling(4.0, 1.0, 4.0, 16))
    return CausalLM(config, torch.Generator().manual_seed(0)).eval().requires_grad_(False)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_steps_and_packed_steps_equal_the_whole(tied, bias):
    lm = build(tied, bias)
    assert ("lm_head.weight" in lm.state_dict()) is not tied
    assert ("model.layers.0.self_attn.q_proj.bias" in lm.state_dict()) is bias
    ids = torch.randint(0, 50, (2, 20), generator=torch.Generator().manual_seed(1))
    whole = lm.logits(lm(lm.embed(ids)))
    for step in (lm.next_logits, PackedDecoder(lm)):
        state = lm.init_state(2, 20)
        lm(lm.embed(ids[:, :12]), state)
        steps = torch.stack([step(lm.embed(ids[:, t]), state) for t in range(12, 20)], 1)
        torch.testing.assert_close(steps, whole[:, 12:], rtol=0, atol=1e-5)


def test_the_configuration_round_trips_as_json():
    config = build(True, False).config
    assert CausalLMConfig.model_validate_json(config.model_dump_json()) == config
