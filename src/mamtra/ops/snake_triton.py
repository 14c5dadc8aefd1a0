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
def snake_of(value, a):
    """x + sin^2(a x) / a in float32. The square has the period pi, and needs no sine: a polynomial within 5e-8 of it."""
    angle = value * a
    turns = tl.floor(angle * 0.3183098861837907 + 0.5)
    # pi in two parts, of which the first times any number of turns is exact
    rest = (angle - turns * 3.140625) - turns * 9.67653589793e-4
    u = rest * rest
    power = -3.63133610e-06 * u + 1.39333981e-04
    power = power * u - 3.17231813e-03
    power = power * u + 4.44430460e-02
    power = power * u - 3.33332990e-01
    power = power * u + 9.99999980e-01
    return value + u * power / (a + 1e-9)


@triton.jit
def _snake_kernel(x, alpha, mask, out, channels, size, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    line, t = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = t < size
    at = line.to(tl.int64) * size + t
    a = tl.load(alpha + line % channels).to(tl.float32)
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    made = snake_of(value, a)
    if MASKED:
        keep = tl.load(mask + (line // channels).to(tl.int64) * size + t, mask=inside, other=0)
        made = tl.where(keep != 0, made, 0.0)
    tl.store(out + at, made.to(out.dtype.element_ty), mask=inside)
