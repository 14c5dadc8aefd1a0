"""The packed decoder in half precision."""

from __future__ import annotations

import torch

from mamtra.engine.packed_step import PackedDecoder
from mamtra.models.config import SpeechLMConfig
from mamtra.models.speech_lm import SpeechLM


def test_bfloat16_weights_step_too():
    """A model in half precision packs as well; rotation and state stay float32 inside."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 8, "text_vocab_size": 40}  # fmt: skip
    config = SpeechLMConfig(**sizes, layer_types=("full_attention", "linear_attention"))
    lm = SpeechLM(config, torch.Generator().manual_seed(0)).to(torch.bfloat16).eval()
    packed, states = PackedDecoder(lm), [lm.init_state(1, 5) for _ in range(2)]
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(5):
            x = torch.randn(1, 32, generator=draw).to(torch.bfloat16)
            found, wanted = packed(x, states[0]), lm.next_logits(x, states[1])
            assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()
