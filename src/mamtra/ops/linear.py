"""Linear maps in the shapes that graphics cards multiply fast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ALIGNMENT = 64
"""Values a row; a graphics card has its fast products, and their fused addition of a bias, where rows are a multiple."""


def aligned_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, multiple: int = ALIGNMENT, behind: float = 0.0
) -> Tensor:
    """``F.linear`` with further outputs of zero weight, up to the next multiple.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,).
        multiple: of the width of the result.
        behind: bias of the further outputs, where there is a bias.

    Returns:
        (..., out rounded up).
    """
    more = -weight.shape[0] % multiple
    if more:
        weight, bias = F.pad(weight, (0, 0, 0, more)), None if bias is None else F.pad(bias, (0, more), value=behind)
    return F.linear(x, weight, bias)


def joint_linear(x: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
    """Several maps of one input as one product, which reads the input once, as the backward pass writes its gradient once.

    Args:
        x: (..., in).
        maps: with biases, or all without.

    Returns:
        (..., out) of the maps behind one another.
    """
    bias = None if maps[0].bias is None else torch.cat([m.bias for m in maps])
    return F.linear(x, torch.cat([m.weight for m in maps]), bias)
