"""The packed decoder in half precision."""

from __future__ import annotations

import torch

from mamtra.engine.packed_step import PackedDecoder
from mamtra.models.speech_lm import SpeechLM
from tests.factories import small_config


def test_bfloat16_weights_step_too():
    """A model in half precision packs as well; rotation and state stay float32 inside."""
    lm = SpeechLM(small_config(speech=6561), torch.Generator().manual_seed(0)).to(torch.bfloat16).eval()
    packed, states = PackedDecoder(lm), [lm.init_state(1, 5) for _ in range(2)]
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(5):
            x = torch.randn(1, 32, generator=draw).to(torch.bfloat16)
            found, wanted = packed(x, states[0]), lm.next_logits(x, states[1])
            assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()
