"""What stands between two convolutions of the vocoder, in one kernel on a GPU: bias, residual, activation, mask; inference only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import has_kernels


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    others: tuple[Tensor, ...] = (),
    scale: float = 1.0,
    alpha: Tensor | None = None,
    slope: float | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Sum and activation.

    Args:
        x: (B, T, C), contiguous.
        bias: (C,).
        others: up to two of (B, T, C), contiguous, to be added.
        scale: of the sum.
        alpha: (C,) frequencies of Snake, x + sin^2(a x) / a.
        slope: of a leaky ReLU, in place of Snake.
        mask: (B, T) bool; where it is False the activation is zero.

    Returns:
        The sum (B, T, C), and its activation: None without `alpha` and `slope`.
    """
    if has_kernels(x.device):
        from mamtra.ops.bias_act_triton import bias_act as kernel

        return kernel(x, bias, others, scale, alpha, slope, mask)
    total = x if bias is None else x + bias
    for other in others:
        total = total + other
    total = total * scale if scale != 1 else total
    if alpha is not None:
        act = total + torch.sin(total * alpha).square() / (alpha + 1e-9)
    elif slope is not None:
        act = F.leaky_relu(total, slope)
    else:
        return total, None
    return total, act if mask is None else act * mask[:, :, None]
