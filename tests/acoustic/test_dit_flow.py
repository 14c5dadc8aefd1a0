"""CosyVoice 3's flow: attention is what a loop gives, it can be trained; for streams and batches see `test_flow_stream`."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from mamtra.acoustic.dit import FirstHeadRotaryAttention, rotary_frequencies, rotary_table
from mamtra.acoustic.dit_flow import DiTFlow, DiTFlowConfig
from tests.acoustic.test_flow_stream import voice
from tests.parity.cosyvoice3 import FLOW as SMALL
from tests.parity.fixture import seeded

FLOW = seeded(DiTFlow(SMALL), "flow")


def test_tokens_after_the_lookahead_change_nothing_before():
    token = torch.arange(20)[None]
    mel = FLOW.inference(token, *voice(5), streaming=True, steps=2)
    changed = token.clone()
    changed[:, 13] += 1  # the first chunk of 5 tokens looks at 3 more, and so does the second
    other = FLOW.inference(changed, *voice(5), streaming=True, steps=2)
    assert torch.equal(mel[:, :, :20], other[:, :, :20]) and not torch.equal(mel[:, :, 20:], other[:, :, 20:])


def naive_attention(layer: FirstHeadRotaryAttention, x: torch.Tensor, chunk: int) -> torch.Tensor:
    """(T, width) to (T, width), head by head and query by query, with complex numbers for the pairs of the first head."""
    heads, width = layer.split
    q, k, v = (linear(x).double().view(len(x), heads, width) for linear in (layer.to_q, layer.to_k, layer.to_v))
    turn = torch.exp(1j * torch.arange(len(x))[:, None].double() * rotary_frequencies(width).double())

    def turned(y: torch.Tensor) -> torch.Tensor:
        y = y.clone()
        pairs = torch.view_as_complex(y[:, 0].reshape(len(y), -1, 2).contiguous()) * turn
        y[:, 0] = torch.view_as_real(pairs).flatten(1)
        return y

    q, k, out = turned(q), turned(k), torch.zeros_like(q)
    for head in range(heads):
        for i in range(len(x)):
            seen = min(len(x), (i // chunk + 1) * chunk) if chunk else len(x)
            scores = torch.softmax(k[:seen, head] @ q[i, head] / width**0.5, dim=0)
            out[i, head] = scores @ v[:seen, head]
    return layer.to_out[0](out.flatten(1).float())


@pytest.mark.parametrize("chunk", [0, 4])
def test_attention_is_the_naive_one(chunk):
    from mamtra.acoustic.masks import additive, attention_mask

    layer = seeded(FirstHeadRotaryAttention(24, 3, 8), "attention")
    x = torch.randn(11, 24, generator=torch.Generator().manual_seed(0))
    mask = additive(attention_mask(11, None, chunk, x.device), x.dtype)
    found = layer(x[None], mask, rotary_table(torch.arange(11.0), 8))[0]
    assert (found - naive_attention(layer, x, chunk)).abs().max() < 1e-5


def test_only_the_first_head_knows_the_positions():
    layer = seeded(FirstHeadRotaryAttention(24, 3, 8), "attention")
    layer.to_out[0].weight.data, layer.to_out[0].bias.data = torch.eye(24), torch.zeros(24)
    x = torch.randn(1, 6, 24, generator=torch.Generator().manual_seed(0))
    here, swapped = (
        layer(rows, None, rotary_table(torch.arange(6.0), 8))[:, -1] for rows in (x, x[:, [1, 0, 2, 3, 4, 5]])
    )
    assert torch.allclose(here[:, 8:], swapped[:, 8:], atol=1e-6) and (here - swapped)[:, :8].abs().max() > 1e-3


def test_training():
    flow = DiTFlow(SMALL).train()
    feat_len = torch.tensor([20, 14])
    noise = flow.sample_noise(feat_len, 20, torch.Generator().manual_seed(0))
    feat, token = torch.randn(2, 20, 80), torch.randint(0, 50, (2, 10))
    for streaming in (False, True):
        loss = flow.loss(
            token,
            feat_len // 2,
            feat,
            feat_len,
            torch.randn(2, 8),
            noise.cond_len,
            noise.t,
            noise.noise,
            noise.keep,
            streaming,
        )
        loss.backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in flow.parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"dit_width": 40},
        {"dit_head_dim": 7},
        {"dit_depth": 10**6},
        {"input_size": 64},
        {"architecture": "unet"},
        {"depth": 2},
    ],
)
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(ValidationError):
        DiTFlowConfig(**wrong)
