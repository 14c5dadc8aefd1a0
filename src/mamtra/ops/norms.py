"""Root-mean-square norms (Zhang and Sennrich 2019, arXiv 1910.07467)."""

from __future__ import annotations

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
    gated = y * F.silu(z)
    normed = F.rms_norm(gated.unflatten(-1, (-1, head_dim)), (head_dim,), None, eps)
    return (normed.flatten(-2) * weight).to(gated.dtype)


def rms_rows(x: Tensor, floor: Tensor) -> Tensor:
    """`rms_norm` without a weight and without its factor ``sqrt(channels)``, in three cheap calls.

    On the CPU the general norm is a chain of small operations whose overhead is larger than their arithmetic. The
    missing factors belong in the matrix that follows, see `mamtra.models.packed`.

    Args:
        x: (..., channels).
        floor: scalar from `rms_floor`.

    Returns:
        ``x / sqrt(sum(x^2) + channels * eps)``.
    """
    return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), floor)


def rms_floor(channels: int, eps: float, like: Tensor) -> Tensor:
    """``sqrt(channels * eps)`` as a scalar like ``like``, to be made once: each creation costs a call."""
    return like.new_tensor((channels * eps) ** 0.5)
