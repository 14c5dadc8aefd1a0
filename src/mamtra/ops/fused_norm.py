"""LayerNorm together with what stands before or after it, in one kernel on a GPU; inference only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.ops.backend import has_kernels


def add_norm(x: Tensor, y: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """The sum of x and y (..., C), and its LayerNorm."""
    if has_kernels(x.device):
        from mamtra.ops.fused_norm_triton import add_norm as kernel

        return kernel(x, y, norm.weight, norm.bias, norm.eps)
    total = x + y
    return total, norm(total)


def norm_mish(x: Tensor, norm: nn.LayerNorm, shift: Tensor | None = None) -> Tensor:
    """Mish of the LayerNorm of x (..., C), plus `shift` (C,)."""
    if has_kernels(x.device):
        from mamtra.ops.fused_norm_triton import norm_mish as kernel

        return kernel(x, norm.weight, norm.bias, norm.eps, shift)
    y = F.mish(norm(x))
    return y if shift is None else y + shift


def windows(x: Tensor, before: Tensor) -> Tensor:
    """Each position of x (B, T, C) with those before it, oldest first.

    Args:
        x: contiguous along C.
        before: (B, K, C) positions before x, contiguous along C.

    Returns:
        (B, T, (K + 1) * C).
    """
    if has_kernels(x.device):
        from mamtra.ops.fused_norm_triton import windows as kernel

        return kernel(x, before)
    joined = F.pad(x, (0, 0, before.shape[1], 0))
    joined[:, : before.shape[1]] = before
    return joined.unfold(1, before.shape[1] + 1, 1).transpose(2, 3).flatten(2)
