"""The kernels of `mamtra.ops.fused_norm`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import launch_options, wait_for_previous

ROWS = 4
"""Positions that one program computes."""


def add_norm(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See `mamtra.ops.fused_norm.add_norm`."""
    x, y = x.contiguous(), y.contiguous()
    total, out = torch.empty_like(x), torch.empty_like(x)
    width = x.shape[-1]
    rows = x.numel() // width
    _add_norm_kernel[(triton.cdiv(rows, ROWS),)](
        x, y, weight, bias, total, out, rows, eps, C=width, BLOCK=triton.next_power_of_2(width), ROWS=ROWS, num_warps=4,
        **launch_options(x.device),
    )  # fmt: skip
    return total, out


def norm_mish(x: Tensor, weight: Tensor, bias: Tensor, eps: float, shift: Tensor | None) -> Tensor:
    """See `mamtra.ops.fused_norm.norm_mish`."""
    x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    width = x.shape[-1]
    rows = x.numel() // width
    _norm_mish_kernel[(triton.cdiv(rows, ROWS),)](
        x, weight, bias, x if shift is None else shift, out, rows, eps,
        C=width, BLOCK=triton.next_power_of_2(width), ROWS=ROWS, SHIFTED=shift is not None, num_warps=4,
        **launch_options(x.device),
    )  # fmt: skip
    return out


def windows(x: Tensor, before: Tensor) -> Tensor:
    """See `mamtra.ops.fused_norm.windows`."""
    batch, size, width = x.shape
    context = before.shape[1]
    out = torch.empty(batch, size, (context + 1) * width, dtype=x.dtype, device=x.device)
    _windows_kernel[(batch, triton.cdiv(size, ROWS))](
        x, before, out, size, *x.stride()[:2], *before.stride()[:2],
        C=width, K=context, BLOCK=triton.next_power_of_2(width), ROWS=ROWS, num_warps=4,
        **launch_options(x.device),
    )  # fmt: skip
    return out


@triton.jit
def normed(value, weight, bias, eps, c, inside, C: tl.constexpr):
    """LayerNorm of the rows of a block (ROWS, BLOCK) float32, zero beyond C."""
    mean = tl.sum(value, 1) / C
    centred = tl.where(inside, value - mean[:, None], 0.0)
    spread = tl.sum(centred * centred, 1) / C
    scale = tl.load(weight + c, mask=c < C, other=0.0).to(tl.float32)
    move = tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)
    return centred * tl.rsqrt(spread + eps)[:, None] * scale[None, :] + move[None, :]


@triton.jit
def mish(y):
    """y * tanh(log(1 + e^y)), the last as a ratio of polynomials in e^y, which is 1 in float32 above 20."""
    power = tl.exp(tl.minimum(y, 20.0))
    ratio = power * (power + 2)
    return y * (ratio / (ratio + 2))


@triton.jit(do_not_specialize=["rows"])
def _add_norm_kernel(
    x,
    y,
    weight,
    bias,
    total,
    out,
    rows,
    eps,
    C: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    PDL: tl.constexpr,
):
    row, c = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (row[:, None] < rows) & (c[None, :] < C)
    at = row[:, None].to(tl.int64) * C + c[None, :]
    wait_for_previous(PDL)
    first = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
    made = (first + second).to(total.dtype.element_ty)
    tl.store(total + at, made, mask=inside)
    after = normed(made.to(tl.float32), weight, bias, eps, c, inside, C)
    tl.store(out + at, after.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def _norm_mish_kernel(
    x, weight, bias, shift, out, rows, eps,
    C: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, SHIFTED: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    row, c = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (row[:, None] < rows) & (c[None, :] < C)
    at = row[:, None].to(tl.int64) * C + c[None, :]
    wait_for_previous(PDL)
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    made = mish(normed(value, weight, bias, eps, c, inside, C))
    if SHIFTED:
        made += tl.load(shift + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    tl.store(out + at, made.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["size"])
def _windows_kernel(
    x, before, out, size, xb, xt, sb, st, C: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    PDL: tl.constexpr,
):  # fmt: skip
    batch, t, c = tl.program_id(0), tl.program_id(1) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (t[:, None] < size) & (c[None, :] < C)
    to = out + (batch.to(tl.int64) * size + t[:, None]) * ((K + 1) * C) + c[None, :]
    wait_for_previous(PDL)
    for tap in tl.static_range(K + 1):
        at = (t + (tap - K))[:, None]
        new = tl.load(x + batch.to(tl.int64) * xb + at * xt + c[None, :], mask=inside & (at >= 0), other=0.0)
        old = tl.load(before + batch.to(tl.int64) * sb + (at + K) * st + c[None, :], mask=inside & (at < 0), other=0.0)
        tl.store(to + tap * C, tl.where(at >= 0, new, old), mask=inside)
