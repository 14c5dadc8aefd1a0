"""A linear map whose rows are aligned for fast matrix products."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

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
