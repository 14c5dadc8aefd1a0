"""What stands between two layers of the vocoder, in one kernel on a GPU: sum, activation, mask; inference only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import has_kernels


def bias_act(
    x: Tensor,
    *,
    others: tuple[Tensor, ...] = (),
    scale: float = 1.0,
    alpha: Tensor | None = None,
    slope: float | None = None,
    mask: Tensor | None = None,
    keep: bool = True,
) -> tuple[Tensor | None, Tensor]:
    """Sum and activation.

    Args:
        x: (B, T, C), contiguous.
        others: up to two of (B, T, C), contiguous, to be added.
        scale: of the sum.
        alpha: (G, C) frequencies of Snake, x + sin^2(a x) / a, of several activations of one sum.
        slope: of a leaky ReLU, in place of Snake.
        mask: (B, T) bool; where it is False the activation is zero.
        keep: whether the sum is returned.

    Returns:
        The sum (B, T, C), or None, and its activation: (B, T, C), or (G, B, T, C) with `alpha`.
    """
    if has_kernels(x.device):
        from mamtra.ops.bias_act_triton import bias_act as kernel

        return kernel(x, others, scale, alpha, slope, mask, keep)
    total = x.float()
    for other in others:
        total = total + other.float()
    total = total * scale if scale != 1 else total
    act = activate(
        total if alpha is None else total[None], None if alpha is None else alpha[:, None, None], slope, mask
    )
    return fitting(total, x.dtype) if keep else None, fitting(act, x.dtype)


def activate(total: Tensor, alpha: Tensor | None, slope: float | None, mask: Tensor | None) -> Tensor | None:
    """Snake of (..., B, T, C) where there is `alpha`, which broadcasts to it, or a leaky ReLU; zero where the mask is False."""
    if alpha is not None:
        act = total + torch.sin(total * alpha).square() / (alpha + 1e-9)
    elif slope is not None:
        act = F.leaky_relu(total, slope)
    else:
        return None
    return act if mask is None else act * mask[:, :, None]


def fitting(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A value in a type; float16 takes the largest number that it has in place of one that is larger."""
    most = torch.finfo(torch.float16).max
    return (value.clamp(-most, most) if dtype == torch.float16 else value).to(dtype)
