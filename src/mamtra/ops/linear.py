"""Linear maps in shapes for which GPUs have fast kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ALIGNMENT = 64
"""Row lengths that are a multiple of it get the fast matrix products with fused bias on GPUs."""


def aligned_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, multiple: int = ALIGNMENT, pad_bias: float = 0.0
) -> Tensor:
    """``F.linear`` padded with outputs of zero weight to the next multiple.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,).
        multiple: of the width of the result.
        pad_bias: bias of the padding, where there is a bias.

    Returns:
        (..., out rounded up).
    """
    more = -weight.shape[0] % multiple
    if more:
        weight, bias = F.pad(weight, (0, 0, 0, more)), None if bias is None else F.pad(bias, (0, more), value=pad_bias)
    return F.linear(x, weight, bias)


def joint_linear(x: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
    """Several maps of one input as one product: the input is read once, and its gradient is written once.

    Args:
        x: (..., in).
        maps: with biases, or all without.

    Returns:
        (..., sum of out), concatenated.
    """
    bias = None if maps[0].bias is None else torch.cat([m.bias for m in maps])
    return F.linear(x, torch.cat([m.weight for m in maps]), bias)
