"""The kernels of the convolution, run by Triton's interpreter, see `test_ssd_triton`, against the plain form."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

from mamtra.ops.conv import causal_conv1d

pytest.importorskip("triton")


SIZES = 16, 32, 48


def plain(x, weight, bias, sizes):
    return F.silu(causal_conv1d(x, weight, bias)[0]).split(sizes, -1)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="run by test_ssd_triton")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("length", "taps"), [(2, 4), (32, 1), (75, 4)])
def test_outputs_and_gradients(length, taps, dtype):
    from mamtra.ops.conv_triton import causal_conv1d_silu_triton

    draw = torch.Generator().manual_seed(length)
    inner = torch.randn(2, length, 96 + 8, generator=draw).to(dtype).requires_grad_()
    weight = torch.randn(96, taps, generator=draw).requires_grad_()
    bias = torch.randn(96, generator=draw).requires_grad_()
    exact = [t.detach().double().requires_grad_() for t in (inner, weight, bias)]
    scale, results = torch.randn(2, length, 96, generator=draw, dtype=torch.float64), []
    for form, args in ((causal_conv1d_silu_triton, (inner, weight, bias)), (plain, exact)):
        y = torch.cat(form(args[0][..., 8:], *args[1:], SIZES), -1)
        results.append((y, *torch.autograd.grad((y * scale).sum(), args)))
    assert results[0][0].dtype == dtype
    limit = 1e-5 if dtype == torch.float32 else 0.003
    for mine, expected in zip(*results, strict=True):
        assert (mine.double() - expected).norm() < limit * expected.norm()
