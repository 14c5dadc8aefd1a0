"""Linear maps of few or many rows with what stands behind them; inference only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import has_kernels

FEW = 512
"""Rows up to which a kernel of this package takes less time than the library: it starts while the one before it still runs."""


def linear_act(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """A linear map of x (..., K) by a weight (N, K), and its GELU where asked for."""
    if not has_kernels(x.device) or x.dtype == torch.float32:
        y = F.linear(x, weight, bias)
        return F.gelu(y) if gelu else y
    rows = x.flatten(0, -2)
    if len(rows) <= FEW:
        from mamtra.ops.linear_act_triton import linear_act as kernel

        return kernel(rows.contiguous(), weight, bias, gelu).view(*x.shape[:-1], len(weight))
    if not gelu:
        return F.linear(x, weight, bias)
    # The product's own GELU differs from the exact one by less than rounding does.
    return torch._addmm_activation(bias, rows, weight.T, use_gelu=True).view(*x.shape[:-1], len(weight))
