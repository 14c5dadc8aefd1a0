"""Root-mean-square norms (Zhang and Sennrich 2019, arXiv 1910.07467)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last axis.

    Args:
        x: (..., channels).
        weight: (channels,).
        eps: added to the mean square.

    Returns:
        The shape and dtype of ``x``.
    """
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), eps)


def gated_rms_norm(y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int) -> Tensor:
    """Gate first, then normalise every head on its own: ``rms(y * silu(z)) * weight``.

    It is Mamba-2's gated norm (Dao and Gu 2024, arXiv 2405.21060) with ``norm_before_gate=False`` and one group a head.

    Args:
        y: (..., heads * head_dim).
        z: gate before its SiLU, the shape of ``y``.
        weight: (heads * head_dim,).
        eps: added to the mean square of each head.
        head_dim: size of one head.

    Returns:
        The shape of ``y``; the dtype that ``y * z`` has.
    """
    if torch.is_grad_enabled() and y.dtype == z.dtype:
        return _GatedRMSNorm.apply(y, z, weight, eps, head_dim)
    return _gated_rms_norm(y, z, weight, eps, head_dim)


def _gated_rms_norm(y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int) -> Tensor:
    gated = y * F.silu(z)
    normed = F.rms_norm(gated.unflatten(-1, (-1, head_dim)), (head_dim,), None, eps)
    return (normed.flatten(-2) * weight).to(gated.dtype)


class _GatedRMSNorm(torch.autograd.Function):
    """Keeps only ``y`` and ``z`` for the backward pass, which reads them once."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int) -> Tensor:
        ctx.save_for_backward(y, z, weight)
        ctx.eps, ctx.head_dim = eps, head_dim
        return _gated_rms_norm(y, z, weight, eps, head_dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        y, z, weight = ctx.saved_tensors
        wide = torch.promote_types(y.dtype, torch.float32)
        y_wide, z_wide, grad, scale = (
            t.unflatten(-1, (-1, ctx.head_dim)).to(wide) for t in (y, z, grad, weight)
        )  # (..., heads, head_dim)
        sigmoid = torch.sigmoid(z_wide)
        gate = z_wide * sigmoid
        gated = y_wide * gate
        turn = torch.rsqrt(gated.square().mean(-1, keepdim=True) + ctx.eps)
        normed = gated * turn
        weight_grad = (grad * normed).flatten(0, -3).sum(0).flatten()
        normed_grad = grad * scale
        gated_grad = turn * (normed_grad - normed * (normed_grad * normed).mean(-1, keepdim=True))
        y_grad, z_grad = gated_grad * gate, gated_grad * y_wide * sigmoid * (1 + z_wide * (1 - sigmoid))
        return y_grad.flatten(-2).to(y.dtype), z_grad.flatten(-2).to(z.dtype), weight_grad.to(weight.dtype), None, None


def rms_rows(x: Tensor, floor: Tensor) -> Tensor:
    """`rms_norm` without a weight and without its factor ``sqrt(channels)``, in three calls.

    On the CPU the general norm is a chain of small operations whose overhead is larger than their arithmetic. The
    missing factors are folded into the next matrix, see `mamtra.engine.packed_step`.

    Args:
        x: (..., channels).
        floor: scalar from `rms_floor`.

    Returns:
        ``x / sqrt(sum(x^2) + channels * eps)``.
    """
    return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), floor)


def rms_floor(channels: int, eps: float, like: Tensor) -> Tensor:
    """``sqrt(channels * eps)`` as a scalar like ``like``, to be created once."""
    return like.new_tensor((channels * eps) ** 0.5)
