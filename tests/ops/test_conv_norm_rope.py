"""Convolution, norms and rotation against independent definitions."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.ops.conv import causal_conv1d, causal_conv1d_silu, causal_conv1d_step, identity_conv_weight
from mamtra.ops.linear import aligned_linear, joint_linear
from mamtra.ops.norms import gated_rms_norm, rms_floor, rms_norm, rms_rows
from mamtra.ops.rope import Llama3Scaling, apply_rope, rope_frequencies, rope_table


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_conv_is_torchs(batch, length, channels, taps):
    x, w, b, past = (
        randn(batch, length, channels),
        randn(channels, taps),
        randn(channels),
        randn(batch, taps - 1, channels),
    )
    y, state = causal_conv1d(x, w, b, past)
    padded = torch.cat((past, x), 1)
    expected = F.conv1d(padded.transpose(1, 2), w[:, None], b, groups=channels).transpose(1, 2)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, padded[:, length:])


@settings(max_examples=30)
@given(st.integers(1, 8), st.integers(2, 5), st.data())
def test_conv_state_of_padded_rows(length, taps, data):
    lengths = torch.tensor([data.draw(st.integers(0, length)) for _ in range(3)])
    x, w, past = randn(3, length, 2), randn(2, taps), randn(3, taps - 1, 2)
    _, state = causal_conv1d(x, w, None, past, lengths)
    for row, n in enumerate(lengths.tolist()):
        _, expected = causal_conv1d(x[row : row + 1, :n], w, None, past[row : row + 1])
        torch.testing.assert_close(state[row : row + 1], expected)


def test_conv_steps():
    x, w, b = randn(2, 9, 3), randn(3, 4), randn(3)
    whole, last = causal_conv1d(x, w, b)
    state = torch.zeros(2, 3, 3)
    steps = torch.stack([causal_conv1d_step(x[:, t], state, w, b) for t in range(9)], 1)
    torch.testing.assert_close(steps, whole)
    torch.testing.assert_close(state, last)


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))
def test_conv_with_silu_and_its_gradients(batch, length, channels, taps):
    args = [randn(batch, length, channels), randn(channels, taps, seed=1), randn(channels, seed=2)]
    args = [t.double().requires_grad_() for t in args]
    sizes = channels // 2, channels - channels // 2
    fused, plain = torch.cat(causal_conv1d_silu(*args, sizes), -1), F.silu(causal_conv1d(*args)[0])
    torch.testing.assert_close(fused, plain)
    weights = randn(batch, length, channels, seed=3)
    for mine, expected in zip(*(torch.autograd.grad(y, args, weights.double()) for y in (fused, plain)), strict=True):
        torch.testing.assert_close(mine, expected)


def test_conv_with_silu_in_half_precision():
    x = randn(2, 30, 5).bfloat16().requires_grad_()
    w, b = randn(5, 4, seed=1).requires_grad_(), randn(5, seed=2).requires_grad_()
    (y,), expected = causal_conv1d_silu(x, w, b, (5,)), F.silu(causal_conv1d(x.float(), w, b)[0])
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.01, atol=0.01)
    found = torch.autograd.grad(y.float().square().sum(), (x, w, b))
    wanted = torch.autograd.grad(expected.square().sum(), (x, w, b))
    assert [g.dtype for g in found] == [torch.bfloat16, torch.float32, torch.float32]
    for mine, exact in zip(found, wanted, strict=True):
        assert (mine.float() - exact.float()).norm() < 0.01 * exact.float().norm()


def test_identity_conv():
    x = randn(1, 7, 3)
    assert torch.equal(causal_conv1d(x, identity_conv_weight(3, 4))[0], x)


def test_rms_norm():
    x, w = randn(4, 6) * 1e-3, randn(6, seed=1)
    expected = x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
    torch.testing.assert_close(rms_norm(x, w, 1e-6), expected)
    torch.testing.assert_close(rms_rows(x, rms_floor(6, 1e-6, x)) * 6**0.5 * w, expected)


def test_gated_norm_gates_first_and_keeps_heads_apart():
    y, z, w = randn(5, 6), randn(5, 6, seed=1), randn(6, seed=2)
    gated = (y * z * torch.sigmoid(z)).view(5, 2, 3)
    expected = (gated / torch.sqrt(gated.pow(2).mean(-1, keepdim=True) + 1e-5)).view(5, 6) * w
    torch.testing.assert_close(gated_rms_norm(y, z, w, 1e-5, 3), expected)


def test_rope_turns_pairs():
    cos, sin = rope_table(20, rope_frequencies(8, 1e4))
    x = randn(20, 8)
    turned = apply_rope(x, cos, sin)
    for t in (0, 7, 19):
        for i in range(4):
            phase = torch.polar(torch.tensor(1.0), torch.tensor(t * 1e4 ** (-2 * i / 8)))
            expected = torch.complex(x[t, i], x[t, i + 4]) * phase
            torch.testing.assert_close(torch.stack((turned[t, i], turned[t, i + 4])), torch.view_as_real(expected))


def test_rope_scores_depend_on_distance_only():
    cos, sin = rope_table(50, rope_frequencies(8, 1e6))
    q, k = randn(8), randn(8, seed=1)
    scores = [apply_rope(q, cos[t + 5], sin[t + 5]) @ apply_rope(k, cos[t], sin[t]) for t in (0, 13, 40)]
    torch.testing.assert_close(scores[0].expand(3), torch.stack(scores), rtol=1e-4, atol=1e-5)


def test_llama3_scaling_stretches_slow_waves_only():
    plain = rope_frequencies(64, 5e5)
    scaled = rope_frequencies(64, 5e5, Llama3Scaling(8.0, 1.0, 4.0, 8192))
    waves = 2 * torch.pi / plain
    assert torch.equal(scaled[waves < 8192 / 4], plain[waves < 8192 / 4])
    torch.testing.assert_close(scaled[waves > 8192], plain[waves > 8192] / 8)
    between = (waves >= 8192 / 4) & (waves <= 8192)
    assert between.any() and (scaled[between] <= plain[between]).all() and (scaled[between] >= plain[between] / 8).all()


def test_rope_is_computed_where_it_is_used():
    frequencies = rope_frequencies(8, 1e4, Llama3Scaling(8.0, 1.0, 4.0, 8192), "meta")
    assert {t.device.type for t in rope_table(4, frequencies)} == {"meta"}


def test_gated_rms_norm_gradients():
    y, z, w = (t.double().requires_grad_() for t in (randn(2, 3, 12), randn(2, 3, 12, seed=1), randn(12, seed=2)))
    assert torch.autograd.gradcheck(lambda *t: gated_rms_norm(*t, 1e-5, 4), (y, z, w))


def test_aligned_linear():
    x, w, b = randn(2, 3, 5), randn(7, 5, seed=1), randn(7, seed=2)
    for bias in (b, None):
        y = aligned_linear(x, w, bias, multiple=4)
        torch.testing.assert_close(y[..., :7], F.linear(x, w, bias))
        assert y.shape[-1] == 8 and not y[..., 7:].any()
    assert (aligned_linear(x, w, b, multiple=4, pad_bias=-9.0)[..., 7:] == -9).all()
    assert aligned_linear(x, w[:4], multiple=4).shape[-1] == 4


@pytest.mark.parametrize("bias", [True, False])
def test_joint_linear(bias):
    maps, x = [torch.nn.Linear(6, width, bias=bias) for width in (5, 2, 1)], randn(3, 4, 6)
    torch.testing.assert_close(joint_linear(x, maps), torch.cat([m(x) for m in maps], -1))
