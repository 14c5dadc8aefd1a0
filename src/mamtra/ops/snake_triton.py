"""Snake with a mask as one Triton kernel, where PyTorch reads and writes the memory five times."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


def snake(x: Tensor, alpha: Tensor, mask: Tensor | None) -> Tensor:
    """x + sin^2(a x) / a, zero where the mask is False.

    Args:
        x: (B, C, T).
        alpha: (C,).
        mask: (B, 1, T) bool, or None.

    Returns:
        (B, C, T), contiguous, of the type of `x`.
    """
    x = x.contiguous()
    batch, channels, size = x.shape
    out = torch.empty_like(x)
    masked = mask is not None
    grid = (batch * channels, triton.cdiv(size, BLOCK))
    _snake_kernel[grid](x, alpha, mask.contiguous() if masked else x, out, channels, size, MASKED=masked, BLOCK=BLOCK)
    return out


@triton.jit
def _snake_kernel(x, alpha, mask, out, channels, size, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    line, t = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = t < size
    at = line.to(tl.int64) * size + t
    a = tl.load(alpha + line % channels).to(tl.float32)
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    sine = tl.sin(value * a)
    made = value + sine * sine / (a + 1e-9)
    if MASKED:
        keep = tl.load(mask + (line // channels).to(tl.int64) * size + t, mask=inside, other=0)
        made = tl.where(keep != 0, made, 0.0)
    tl.store(out + at, made.to(out.dtype.element_ty), mask=inside)
