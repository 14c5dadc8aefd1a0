"""The mixer's kernels against the plain functions, in Triton's interpreter where there is no GPU."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mamtra.models.config import BackboneConfig
from mamtra.models.mamba import MambaMixer
from mamtra.models.positions import Positions
from mamtra.ops.conv import causal_conv1d
from mamtra.ops.norms import gated_rms_norm
from mamtra.ops.ssd import repeat_heads, ssd_naive

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED or not torch.cuda.is_available() else "cuda"
kernels_run = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="runs in the process below")
LIMITS = {torch.float32: 3e-5, torch.float16: 0.005}  # NumPy, below the interpreter, has no bfloat16
if DEVICE == "cuda":
    LIMITS[torch.bfloat16] = 0.03
EPS = 0.01
"""Less, and rounding errors of a head's small first outputs would be most of what is seen."""
BEHIND = 5


@pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="all tests run as they are")
def test_kernels_in_the_interpreter():
    """Triton reads its variable when it is imported: these tests once more, in a process of their own."""
    run = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *map(str, Path(__file__).parent.glob("test_*_triton.py")),
    ]
    done = subprocess.run(run, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def short_segments(monkeypatch):
    """Few steps, each of which costs the interpreter much, and segments that end inside of a row."""
    from mamtra.ops import conv_triton

    monkeypatch.setattr(conv_triton, "SEGMENTS", 16)
    monkeypatch.setattr(conv_triton, "STEPS", 8)


def inputs(length, heads, groups, head_dim, taps, dtype):
    draw = torch.Generator().manual_seed(length)
    inner, channels = heads * head_dim, (heads + 2 * groups) * head_dim
    projected = torch.randn(2, length, inner + channels + heads + BEHIND, generator=draw)
    drawn = (
        projected.to(dtype),
        torch.randn(channels, taps, generator=draw),
        torch.randn(channels, generator=draw),
        torch.randn(heads, generator=draw) - 2,
        torch.randn(heads, generator=draw),
        torch.randn(heads, generator=draw),
        torch.randn(inner, generator=draw),
    )
    return [t.to(DEVICE).requires_grad_() for t in drawn]


class Stored(torch.autograd.Function):
    """A value and its gradient as the kernels store them: a sum over all positions that nearly cancels is far off by that alone."""

    @staticmethod
    def forward(ctx, value, dtype):
        ctx.dtype = dtype
        return value.to(dtype).double()

    @staticmethod
    def backward(ctx, grad):
        return grad.to(ctx.dtype).double(), None


def plain(projected, taps, bias, dt_bias, A_log, D, norm_weight, *, head_dim, eps, dtype=torch.float64):
    inner, heads = norm_weight.shape[0], A_log.shape[0]
    shared = (taps.shape[0] - inner) // 2
    z, xbc, dt, _ = projected.split((inner, taps.shape[0], heads, BEHIND), -1)
    mixed = Stored.apply(F.silu(causal_conv1d(xbc, taps, bias)[0]), dtype)
    parts = mixed.split((shared, shared, inner), -1)
    x, B, C = (part.unflatten(-1, (-1, head_dim)) for part in parts)
    x, B = repeat_heads(x, heads), repeat_heads(B, heads)
    y, _ = ssd_naive(x, F.softplus(dt + dt_bias), -torch.exp(A_log), B, C, D)
    return gated_rms_norm(Stored.apply(y.flatten(2), dtype), z, norm_weight, eps, head_dim)


@kernels_run
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize(
    ("length", "heads", "groups", "head_dim", "taps"),
    [(2, 2, 1, 16, 4), (64, 4, 2, 16, 1), (75, 4, 1, 32, 4), (75, 2, 2, 16, 3), (203, 4, 2, 16, 4)],
)
def test_outputs_and_gradients(length, heads, groups, head_dim, taps, dtype, short_segments):
    from mamtra.ops.mixer_triton import mixer_triton

    args = inputs(length, heads, groups, head_dim, taps, dtype)
    exact = [t.detach().double().requires_grad_() for t in args]
    scale, results = (
        torch.linspace(-1, 1, 2 * length * heads * head_dim, dtype=torch.float64, device=DEVICE).view(2, length, -1),
        [],
    )
    for form, t in ((mixer_triton, args), (partial(plain, dtype=dtype), exact)):
        y = form(*t, head_dim=head_dim, eps=EPS)
        results.append((y, *torch.autograd.grad((y * scale).sum(), t)))
    assert results[0][0].dtype == dtype
    assert not results[0][1][..., -BEHIND:].any()
    for mine, other in zip(*results, strict=True):
        assert (mine.double() - other).norm() < LIMITS[dtype] * other.norm()


@kernels_run
def test_every_part_of_the_gradient(short_segments):
    """Steps are few among the columns: their gradient on its own, over steps from tiny to large."""
    from mamtra.ops.mixer_triton import mixer_triton

    args = inputs(20, 4, 2, 16, 4, torch.float32)
    with torch.no_grad():
        args[3].copy_(torch.tensor([-12.0, -7.0, 0.0, 25.0], device=DEVICE))
    exact = [t.detach().double().requires_grad_() for t in args]
    grads = [
        torch.autograd.grad(form(*t, head_dim=16, eps=EPS).square().sum(), t)
        for form, t in ((mixer_triton, args), (plain, exact))
    ]
    columns = [g[0].split((64, 32, 32, 64, 4, BEHIND), -1)[:-1] for g in grads]
    for mine, other in zip(*columns, strict=True):
        assert (mine.double() - other).norm() < 1e-5 * other.norm()


@kernels_run
def test_a_mixer_learns_the_same():
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    config = BackboneConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, **heads)
    torch.manual_seed(0)
    mixer = MambaMixer(config).to(DEVICE)
    hidden = torch.randn(2, 70, 32, device=DEVICE, requires_grad=True)
    results = []
    for mixer.use_triton in (False, True):
        y = mixer(hidden, Positions.from_zero(70, config, hidden.device))
        results.append((y, *torch.autograd.grad(y.square().sum(), (hidden, *mixer.parameters()))))
    assert not torch.equal(*(y for y, *_ in results)), "the kernel was not used"
    for mine, expected in zip(*results, strict=True):
        assert (mine - expected).norm() < 1e-4 * expected.norm()
