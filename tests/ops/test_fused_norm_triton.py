"""The kernels around LayerNorm against the plain functions, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mamtra.ops.fused_norm import add_norm, norm_mish, windows
from tests.ops.kernels import DEVICE, kernels_run

pytest.importorskip("triton")
pytestmark = kernels_run


def norm(width: int) -> nn.LayerNorm:
    made = nn.LayerNorm(width)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made.requires_grad_(False)


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found.cpu(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("width", [24, 64])
def test_sum_and_norm(width):
    from mamtra.ops import fused_norm_triton as kernels

    layer, (x, y) = norm(width), 3 * torch.randn(2, 2, 7, width)
    wanted = add_norm(x, y, layer)
    args = (value.to(DEVICE) for value in (x, y, layer.weight, layer.bias))
    for found, value in zip(kernels.add_norm(*args, layer.eps), wanted, strict=True):
        close(found, value)


@pytest.mark.parametrize("shifted", [False, True])
def test_norm_and_mish(shifted):
    from mamtra.ops import fused_norm_triton as kernels

    layer, x, shift = norm(24), torch.randn(2, 5, 24), torch.randn(24) if shifted else None
    layer.weight.mul_(20)
    moved = None if shift is None else shift.to(DEVICE)
    found = kernels.norm_mish(x.to(DEVICE), layer.weight.to(DEVICE), layer.bias.to(DEVICE), layer.eps, moved)
    close(found, norm_mish(x, layer, shift))


def test_windows():
    from mamtra.ops import fused_norm_triton as kernels

    x, before = torch.randn(2, 5, 24), torch.randn(2, 2, 40)[:, :, 3:27]
    close(kernels.windows(x.to(DEVICE), before.to(DEVICE)), windows(x, before))
