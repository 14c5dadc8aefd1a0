"""Products of a decode step: few rows meet a large matrix, with the norm before and the additions after in the same pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.decode_backend import use_triton
from mamtra.ops.norms import rms_norm

if TYPE_CHECKING:
    from mamtra.ops.decode_kernels import Workspace


def decode_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm_weight: Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
    residual: Tensor | None = None,
    workspace: Workspace | None = None,
) -> Tensor:
    """``residual + f(rms_norm(x) @ weight.T + bias)`` for a few rows.

    Args:
        x: (B, in).
        weight: (out, in); with ``gated`` the rows of the gate and then those of the other factor, (2 * out, in).
        bias: (out,); not with ``gated``.
        norm_weight: (in,) of the RMS norm before the product; no norm when absent.
        eps: of the norm.
        gated: the result is ``silu(gate) * up`` of the two halves.
        residual: (B, out), added to the result and overwritten with it.
        workspace: scratch memory of the kernels; needed on a GPU with Triton.

    Returns:
        (B, out) in the dtype of ``x``; ``residual`` itself where there is one.
    """
    if use_triton(x.device):
        from mamtra.ops.decode_linear_triton import decode_linear_triton

        return decode_linear_triton(x, weight, bias, norm_weight, eps, gated, residual, workspace)
    return decode_linear_naive(x, weight, bias, norm_weight=norm_weight, eps=eps, gated=gated, residual=residual)


def decode_linear_naive(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm_weight: Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """`decode_linear` in torch's own operations."""
    if norm_weight is not None:
        x = rms_norm(x, norm_weight, eps)
    y = F.linear(x, weight, bias)
    if gated:
        gate, up = y.chunk(2, -1)
        y = F.silu(gate) * up
    return y if residual is None else residual.add_(y)
