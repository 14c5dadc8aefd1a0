"""Products of a decode step: few rows meet a large matrix, with the norm before and the additions after in the same pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import use_triton
from mamtra.ops.decode_types import Normed, ScaledWeight
from mamtra.ops.norms import rms_norm

if TYPE_CHECKING:
    from mamtra.ops.decode_kernels import Workspace


def decode_linear(
    x: Tensor | Normed,
    weight: Tensor | ScaledWeight,
    bias: Tensor | None = None,
    *,
    eps: float = 0.0,
    gated: bool = False,
    workspace: Workspace | None = None,
) -> Tensor:
    """``x @ weight.T + bias`` for a few rows, or the gated half of a feed-forward.

    Args:
        x: (B, in).
        weight: (out, in), or the same in eight bits; with ``gated`` the rows of the gate and then those of the other factor,
            (2 * out, in).
        bias: (out,); not with ``gated``.
        eps: of the norm, for a `Normed` input.
        gated: the result is ``silu(gate) * up`` of the two halves.
        workspace: scratch memory of the kernels; needed on a GPU with Triton.

    Returns:
        (B, out) in the dtype of ``x``.
    """
    given = x if isinstance(x, Normed) else Normed(x, None)
    if use_triton(given.x.device):
        from mamtra.ops.decode_linear_triton import decode_linear_triton

        return decode_linear_triton(given, weight, bias, eps, gated, workspace)
    y = F.linear(given.x, _wide(weight, given.x), bias)
    if not gated:
        return y
    gate, up = y.chunk(2, -1)
    return F.silu(gate) * up


def decode_linear_add(
    x: Tensor,
    weight: Tensor | ScaledWeight,
    residual: Tensor,
    norm_weight: Tensor,
    *,
    eps: float,
    workspace: Workspace | None = None,
) -> Normed:
    """``residual += x @ weight.T`` for a few rows, and what the next norm needs of the sum.

    Args:
        x: (B, in).
        weight: (out, in), or the same in eight bits.
        residual: (B, out), overwritten with the sum.
        norm_weight: (out,) of the norm that reads the sum next.
        eps: of that norm.
        workspace: scratch memory of the kernels; needed on a GPU with Triton.
    """
    if use_triton(x.device):
        from mamtra.ops.decode_linear_triton import decode_linear_add_triton

        return decode_linear_add_triton(x, weight, residual, norm_weight, workspace)
    residual.add_(F.linear(x, _wide(weight, x)))
    return Normed(rms_norm(residual, norm_weight, eps), None)


def _wide(weight: Tensor | ScaledWeight, x: Tensor) -> Tensor:
    return weight.wide(x.dtype) if isinstance(weight, ScaledWeight) else weight
