"""The kernels of the scan, run by Triton's interpreter on the CPU, against the loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mamtra.models.attention import Span
from mamtra.models.config import BackboneConfig
from mamtra.models.mamba import MambaMixer
from mamtra.ops.ssd import repeat_heads, ssd, ssd_naive

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
on_cpu = pytest.mark.skipif(not INTERPRETED, reason="runs in the process below")


def test_kernels_in_the_interpreter():
    """Triton reads its variable when it is imported: these tests once more, in a process of their own."""
    if INTERPRETED:
        return
    others = sorted(str(path) for path in Path(__file__).parent.glob("test_*_triton.py"))
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *others]
    done = subprocess.run(run, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def inputs(length, heads, groups, size, state, dtype):
    draw = torch.Generator().manual_seed(length)
    inner = torch.randn(2, length, (size + state) * groups + heads * state, generator=draw).to(dtype).requires_grad_()
    dt = (torch.rand(2, length, heads, generator=draw) * 0.3).requires_grad_()
    A = (-torch.rand(heads, generator=draw) * 4).requires_grad_()
    D = torch.randn(heads, generator=draw).requires_grad_()
    return inner, dt, A, D


def run(form, inner, dt, A, D, groups, size, state):
    heads = A.shape[0]
    x, B, C = inner.split((groups * size, groups * state, heads * state), -1)  # rows apart, as behind the convolution
    x, B, C = x.unflatten(-1, (groups, size)), B.unflatten(-1, (groups, state)), C.unflatten(-1, (heads, state))
    return form(x, dt, A, B, C, D)


def plain(x, dt, A, B, C, D):
    return ssd_naive(repeat_heads(x, C.shape[2]), dt, A, repeat_heads(B, C.shape[2]), C, D)


def kernel(*args):
    return ssd(*args, kernel=True)


@on_cpu
@pytest.mark.parametrize(
    ("length", "heads", "groups", "size", "state"), [(64, 2, 2, 16, 16), (200, 4, 2, 16, 32), (5, 3, 1, 32, 16)]
)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16]
)  # NumPy, on which the interpreter runs, has no bfloat16
def test_outputs_and_gradients(length, heads, groups, size, state, dtype):
    args = inputs(length, heads, groups, size, state, dtype)
    exact = [t.detach().double().requires_grad_() for t in args]
    (y, last), (expected, expected_last) = (
        run(form, *t, groups, size, state) for form, t in ((kernel, args), (plain, exact))
    )
    assert y.dtype == dtype and last.dtype == torch.float32
    weight, last_weight = torch.randn(y.shape, dtype=torch.float64), torch.randn(last.shape, dtype=torch.float64)
    found = torch.autograd.grad((y * weight).sum() + (last * last_weight).sum(), args)
    wanted = torch.autograd.grad((expected * weight).sum() + (expected_last * last_weight).sum(), exact)
    limit = 1e-5 if dtype == torch.float32 else 0.005
    for mine, other in zip((y, last, *found), (expected, expected_last, *wanted), strict=True):
        assert (mine.double() - other).norm() < limit * other.norm()


@on_cpu
def test_a_mixer_learns_the_same():
    config = BackboneConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    )
    torch.manual_seed(0)
    mixer = MambaMixer(config)
    hidden = torch.randn(2, 70, 32, requires_grad=True)
    results = []
    for mixer.kernels in (False, True):
        y = mixer(hidden, Span.without_state(70, config, hidden.device))
        results.append((y, *torch.autograd.grad(y.square().sum(), (hidden, *mixer.parameters()))))
    assert not torch.equal(*(y for y, *_ in results)), "the kernel was not used"
    for mine, expected in zip(*results, strict=True):
        assert (mine - expected).norm() < 1e-4 * expected.norm()
