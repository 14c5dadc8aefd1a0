"""The gated half of a SwiGLU feed-forward (Shazeer 2020, arXiv 2002.05202)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gated_linear(x: Tensor, gate: nn.Module, up: nn.Module, *, use_triton: bool = False) -> Tensor:
    """``silu(gate(x)) * up(x)``.

    Args:
        x: (..., in).
        gate: linear map without a bias to ``out`` channels.
        up: the same.
        use_triton: compute it as one Triton product under autocast; CUDA devices only.

    Returns:
        (..., out).
    """
    if use_triton and torch.is_autocast_enabled(x.device.type):
        from mamtra.ops.gated_linear_triton import gated_linear_triton  # Triton is installed with CUDA builds only

        x = x.to(torch.get_autocast_dtype(x.device.type))
        return gated_linear_triton(x, gate.weight, up.weight)
    return F.silu(gate(x)) * up(x)
