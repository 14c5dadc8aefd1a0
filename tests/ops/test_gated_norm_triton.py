"""The kernels of the gated norm, run by Triton's interpreter, see `test_ssd_triton`, against the plain form."""

from __future__ import annotations

import os

import pytest
import torch

from mamtra.ops.norms import gated_rms_norm

pytest.importorskip("triton")


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="run by test_ssd_triton")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("length", [3, 64, 150])
def test_outputs_and_gradients(length, dtype):
    from mamtra.ops.gated_norm_triton import gated_rms_norm_triton

    draw = torch.Generator().manual_seed(length)
    inner = torch.randn(2, length, 2 * 48 + 8, generator=draw).to(dtype).requires_grad_()
    weight = torch.randn(48, generator=draw).requires_grad_()
    wide = inner.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    scale, results = torch.randn(2, length, 48, generator=draw, dtype=torch.float64), []
    for form, (both, w) in ((gated_rms_norm_triton, (inner, weight)), (gated_rms_norm, wide)):
        y, z, _ = both.split((48, 48, 8), -1)
        out = form(y, z, w, 1e-5, 16)
        results.append((out, *torch.autograd.grad((out * scale).sum(), (both, w))))
    assert results[0][0].dtype == dtype
    limit = 1e-5 if dtype == torch.float32 else 0.003
    for mine, expected in zip(*results, strict=True):
        assert (mine.double() - expected).norm() < limit * expected.norm()
