"""Products together with the LayerNorm behind them; inference only. In half precision each is one kernel on a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.ops.backend import has_kernels
from mamtra.ops.fused_norm import add_norm, norm_mish, windows


def linear_add_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, beside: Tensor, norm: nn.LayerNorm | None
) -> tuple[Tensor, Tensor | None]:
    """The sum of a linear map of x (..., K) and `beside` (..., C), and its LayerNorm: None without `norm`."""
    if _one_kernel(x):
        from mamtra.ops.linear_norm_triton import linear_norm

        return linear_norm(x, None, weight, bias, beside, norm)
    y = F.linear(x, weight, bias)
    return (beside + y, None) if norm is None else add_norm(beside, y, norm)


def causal_conv(
    x: Tensor,
    before: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    norm: nn.LayerNorm | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """Causal convolution of x (B, T, K), and with `norm` the Mish of its LayerNorm, plus `shift` (C,).

    Args:
        x: see above.
        before: (B, taps - 1, K) positions before x, contiguous along K.
        weight: (C, taps * K), the last tap that of the current position.
        bias: (C,).
        norm: over C.
        shift: see above.

    Returns:
        (B, T, C).
    """
    if _one_kernel(x):
        from mamtra.ops.linear_norm_triton import linear_norm

        total, made = linear_norm(x, before, weight, bias, None, norm, mish=norm is not None, shift=shift)
        return total if made is None else made
    y = F.linear(windows(x, before), weight, bias)
    return y if norm is None else norm_mish(y, norm, shift)


def _one_kernel(x: Tensor) -> bool:
    return has_kernels(x.device) and x.dtype != torch.float32
