"""Rotary position embedding in the half-split convention of Qwen2 and Llama (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

import torch
from torch import Tensor


def rope_table(
    length: int, head_dim: int, theta: float, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of every position.

    The first half of the sine carries a minus sign, so that turning a vector needs no negation:
    ``x * cos + roll(x, head_dim / 2) * sin``.

    Args:
        length: number of positions, starting at 0.
        head_dim: size of one head, even.
        theta: base of the wave lengths (1e6 in Qwen2).
        device: where the tables go.

    Returns:
        ``cos`` and ``sin``, each (length, head_dim) float32.
    """
    exponent = torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * theta**-exponent
    sin = angle.sin()
    return torch.cat((angle, angle), -1).cos(), torch.cat((-sin, sin), -1)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each head vector by the angle of its position.

    Args:
        x: (..., head_dim).
        cos: broadcastable to ``x``, from `rope_table`.
        sin: the same, signed.

    Returns:
        The shape and dtype of ``x``.
    """
    half = x.shape[-1] // 2
    return torch.addcmul(x * cos, x.roll(half, -1), sin).to(x.dtype)
