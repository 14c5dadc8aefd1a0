"""The kernel of `mamtra.ops.linear_norm`: a program computes whole lines, so that it can norm them."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor, nn

from mamtra.ops.decode_kernels import launch_options, wait_for_previous
from mamtra.ops.fused_norm_triton import mish, normed


def linear_norm(
    x: Tensor,
    before: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    beside: Tensor | None,
    norm: nn.LayerNorm | None,
    mish: bool = False,
    shift: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """A product, its sum with `beside`, the LayerNorm of that, its Mish, plus `shift`; what is not asked for is None.

    Args:
        x: (..., K), or (B, T, K) with `before`.
        before: see `mamtra.ops.linear_norm.causal_conv`.
        weight: (C, K), or (C, taps * K).
        bias: (C,).
        beside: (..., C).
        norm: over C.
        mish: whether the norm's Mish is wanted.
        shift: (C,).

    Returns:
        The sum (..., C), None with `mish`; and what the norm and all behind it make of it, None without `norm`.
    """
    x = x.contiguous()
    width, inputs = len(weight), x.shape[-1]
    rows, taps = x.numel() // inputs, 1 if before is None else before.shape[1] + 1
    total = None if mish else x.new_empty(*x.shape[:-1], width)
    out = None if norm is None else x.new_empty(*x.shape[:-1], width)
    beside = None if beside is None else beside.contiguous()
    old = x if before is None else before
    options = tile(rows, width)
    _linear_norm_kernel[(triton.cdiv(rows, options["M"]),)](
        x, old, weight, x if bias is None else bias, x if beside is None else beside,
        x if norm is None else norm.weight, x if norm is None else norm.bias, x if shift is None else shift,
        x if total is None else total, x if out is None else out, rows, x.shape[-2], 0.0 if norm is None else norm.eps,
        *old.stride()[:2], C=inputs, TAPS=taps, N=width, BLOCK=triton.next_power_of_2(max(16, width)),
        K=min(64, triton.next_power_of_2(max(16, inputs))), BIAS=bias is not None, BESIDE=beside is not None,
        STORE=total is not None, NORM=norm is not None, MISH=mish, SHIFTED=shift is not None, **options, **launch_options(x.device),
    )  # fmt: skip
    return total, out


def tile(rows: int, width: int) -> dict[str, int]:
    """Lines of a program: few where there are few, so that many programs share them."""
    m = 16 if rows <= 2048 else 32 if rows <= 4096 else 64
    return {"M": m, "num_warps": 8 if m == 64 and width > 128 else 4, "num_stages": 3}


@triton.jit
def _linear_norm_kernel(
    x, before, weight, bias, beside, norm_weight, norm_bias, shift, total, out, rows, size, eps, before_row, before_step,
    C: tl.constexpr, TAPS: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, K: tl.constexpr, BIAS: tl.constexpr,
    BESIDE: tl.constexpr, STORE: tl.constexpr, NORM: tl.constexpr, MISH: tl.constexpr, SHIFTED: tl.constexpr,
    M: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    row, n, k = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, BLOCK), tl.arange(0, K)
    exists, batch, t = row < rows, row // size, row % size
    blocks: tl.constexpr = (C + K - 1) // K
    acc = tl.zeros((M, BLOCK), dtype=tl.float32)
    wait_for_previous(PDL)
    for step in range(TAPS * blocks):
        tap, channel = step // blocks, (step % blocks) * K + k
        line = x + (row + tap - (TAPS - 1)).to(tl.int64) * C
        if TAPS > 1:
            at = t + tap - (TAPS - 1)
            old = before + batch.to(tl.int64) * before_row + (at + TAPS - 1) * before_step
            line = tl.where(at >= 0, line, old)
        kernel = weight + n[None, :] * (TAPS * C) + tap * C + channel[:, None]
        if C % K == 0:
            taken = tl.load(line[:, None] + channel[None, :], mask=exists[:, None], other=0.0)
        else:
            taken = tl.load(line[:, None] + channel[None, :], mask=exists[:, None] & (channel[None, :] < C), other=0.0)
        if C % K == 0 and N == BLOCK:
            held = tl.load(kernel)
        else:
            held = tl.load(kernel, mask=(channel[:, None] < C) & (n[None, :] < N), other=0.0)
        acc = tl.dot(taken, held, acc, input_precision="ieee")
    inside = exists[:, None] & (n[None, :] < N)
    place = row[:, None].to(tl.int64) * N + n[None, :]
    if BIAS:
        acc += tl.load(bias + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    if BESIDE:
        acc += tl.load(beside + place, mask=inside, other=0.0).to(tl.float32)
    if STORE:
        tl.store(total + place, acc.to(total.dtype.element_ty), mask=inside)
    if NORM:
        made = normed(acc, norm_weight, norm_bias, eps, n, inside, N)
        if MISH:
            made = mish(made)
        if SHIFTED:
            made += tl.load(shift + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
        tl.store(out + place, made.to(out.dtype.element_ty), mask=inside)
