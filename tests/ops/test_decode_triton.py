"""Kernels of the decode step in Triton's interpreter (see `test_mixer_triton`), against the plain form."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

from mamtra.ops.decode_attention import decode_attention_naive
from mamtra.ops.decode_types import MambaWeights, Normed, ScaledWeight
from mamtra.ops.mamba_step import mamba_step_naive
from mamtra.ops.norms import rms_norm
from mamtra.ops.rope import rope_frequencies, rope_table

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED or not torch.cuda.is_available() else "cuda")
pytestmark = pytest.mark.skipif(DEVICE.type == "cpu" and not INTERPRETED, reason="run by test_mixer_triton")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.fixture(scope="module")
def workspace():
    from mamtra.ops.decode_kernels import Workspace

    space = Workspace(DEVICE, 1 << 18)
    yield space
    assert not space.counters.any()


@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize(
    ("outputs", "inputs", "tile"),
    [
        (40, 48, None),
        (37, 96, None),
        (24, 200, (16, 16, 32, 4, 4, 2)),
        (24, 200, (0, 8, 64, 3, 4, 2)),
        (37, 200, (16, 64, 32, 4, 4, 2, True)),
        (70, 128, (16, 64, 64, 1, 4, 3, True)),
    ],
)
def test_linear(rows, outputs, inputs, tile, workspace):
    from mamtra.ops.decode_linear_triton import Tile, decode_linear_add_triton, decode_linear_triton

    x, weight, residual = (
        drawn(rows, inputs),
        drawn(outputs, inputs, seed=1) / inputs**0.5,
        drawn(rows, outputs, seed=2),
    )
    norm_weight = drawn(outputs, seed=3).exp()
    expected = residual + F.linear(x, weight)
    tile = Tile(*tile) if tile else None
    normed = decode_linear_add_triton(x, weight, residual, norm_weight, workspace, tile=tile)
    torch.testing.assert_close(residual, expected, rtol=1e-4, atol=1e-5)
    behind, bias = drawn(50, outputs, seed=4) / outputs**0.5, drawn(50, seed=5)
    plain = rms_norm(expected, norm_weight, 1e-6)
    for given, value in ((normed, plain), (Normed(expected, None), expected)):
        y = decode_linear_triton(given, behind, bias, 1e-6, False, workspace, tile=tile)
        torch.testing.assert_close(y, F.linear(value, behind, bias), rtol=1e-4, atol=1e-5)
        gate, up = F.linear(value, behind).chunk(2, -1)
        whole = tile._replace(split=1) if tile else None
        y = decode_linear_triton(given, behind, None, 1e-6, True, workspace, tile=whole)
        torch.testing.assert_close(y, F.silu(gate) * up, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize(("rows", "tile"), [(1, (0, 8, 64, 3, 4, 2)), (20, None), (20, (16, 64, 32, 4, 4, 2, True))])
def test_weights_in_eight_bits(rows, tile, kind, workspace):
    from mamtra.ops.decode_linear_triton import Tile, decode_linear_add_triton, decode_linear_triton

    if kind == "fp8" and INTERPRETED:
        pytest.skip("NumPy, below the interpreter, has no fp8")
    outputs, inputs = 37, 200
    x, residual, norm_weight = drawn(rows, inputs), drawn(rows, outputs, seed=2), drawn(outputs, seed=3).exp()
    weight = ScaledWeight.of(drawn(outputs, inputs, seed=1) / inputs**0.5, kind)
    pair = ScaledWeight.of(drawn(2 * outputs, inputs, seed=4) / inputs**0.5, kind)
    tile = Tile(*tile) if tile else None
    expected = residual + F.linear(x, weight.wide(torch.float32))
    normed = decode_linear_add_triton(x, weight, residual, norm_weight, workspace, tile=tile)
    torch.testing.assert_close(residual, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(normed.x, expected * norm_weight, rtol=1e-4, atol=1e-5)
    gate, up = F.linear(x, pair.wide(torch.float32)).chunk(2, -1)
    whole = tile._replace(split=1) if tile else None
    y = decode_linear_triton(Normed(x, None), pair, None, 1e-6, True, workspace, tile=whole)
    torch.testing.assert_close(y, F.silu(gate) * up, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("splits", [1, 2, 4])
@pytest.mark.parametrize(("heads", "groups", "size"), [(4, 2, 16), (7, 1, 64)])
def test_attention(heads, groups, size, splits, workspace):
    from mamtra.ops.decode_attention_triton import decode_attention_triton

    capacity = 300
    cos, sin = rope_table(capacity, rope_frequencies(size, 1e4, device=DEVICE))
    cache = drawn(6, 2, groups, capacity, size)
    lengths = torch.tensor([0, 5, capacity - 1, 63, 128, 129], dtype=torch.int32, device=DEVICE)
    slots = torch.tensor([2, 0, 5, 4], dtype=torch.int32, device=DEVICE)
    qkv = drawn(len(slots), (heads + 2 * groups) * size, seed=1)
    plain = cache.clone()
    expected = decode_attention_naive(qkv, plain, slots, lengths, cos, sin)
    y = decode_attention_triton(qkv, cache, slots, lengths, cos, sin, workspace, splits=splits)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cache, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize(("heads", "groups", "size", "taps"), [(4, 2, 16, 4), (2, 2, 32, 3)])
def test_mamba(heads, groups, size, taps, discrete):
    from mamtra.ops.mamba_step_triton import mamba_step_triton

    channels = (heads + 2 * groups) * size
    weights = MambaWeights(
        drawn(channels, taps), drawn(channels, seed=1), drawn(heads, seed=2) - 2, drawn(heads, seed=3).abs(),
        drawn(heads, seed=4), drawn(heads * size, seed=5), 0.01, discrete,
    )  # fmt: skip
    states = drawn(5, taps, channels, seed=6), drawn(5, heads, size, size, seed=7)
    lengths = torch.tensor([0, 1, 2, 3, 9], dtype=torch.int32, device=DEVICE)
    slots = torch.tensor([4, 0, 2], dtype=torch.int32, device=DEVICE)
    projected = drawn(len(slots), heads * size + channels + heads + 3, seed=8)
    plain = [state.clone() for state in states]
    expected = mamba_step_naive(projected, *plain, slots, lengths, weights)
    y = mamba_step_triton(projected, *states, slots, lengths, weights)
    for mine, other in zip((y, *states), (expected, *plain), strict=True):
        assert (mine - other).norm() < 1e-5 * other.norm()


def test_sampler():
    from mamtra.engine.device_sampling import sample_slots_naive
    from mamtra.engine.device_sampling_triton import sample_slots_triton
    from tests.engine.test_device_sampling import CONFIG, LOGITS, slot_table, steps

    results = []
    for sample in (sample_slots_naive, sample_slots_triton):
        table = slot_table(DEVICE)
        tokens = steps(sample, table, LOGITS.to(DEVICE))
        # what a failed row drew means nothing
        results.append((tokens, table.ints[1:], table.history[1:], table.inputs[1:]))
    assert CONFIG.fill_id in results[0][0]
    for mine, expected in zip(*results, strict=True):
        assert torch.equal(mine, expected)
