"""The kernel of `mamtra.ops.wave_conv`: a product over all taps and channels, and its epilogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.bias_act_triton import LEAKY, PLAIN, SNAKE, fitting
from mamtra.ops.decode_kernels import launch_options, wait_for_previous
from mamtra.ops.snake_triton import snake_of

if TYPE_CHECKING:
    from mamtra.ops.wave_conv import WaveConv


def wave_conv(
    conv: WaveConv,
    x: Tensor,
    residual: Tensor | None,
    alpha: Tensor | None,
    slope: float | None,
    mask: Tensor | None,
    keep: bool,
    dtype: torch.dtype,
) -> tuple[Tensor | None, Tensor | None]:
    """See `mamtra.ops.wave_conv.WaveConv.__call__`."""
    group, batch, size, width = x.shape
    reach = conv.dilations[0] * (conv.taps[0] - 1)
    made = (size + 2 * conv.padding[0] - reach - 1) // conv.stride + 1 if conv.stride > 1 else size
    inputs, outputs = conv.kernel.shape[1:]
    kind = PLAIN if alpha is None and slope is None else LEAKY if alpha is None else SNAKE
    total = x.new_empty(group, batch, made, outputs, dtype=dtype) if keep else None
    act = x.new_empty(group, batch, made, outputs) if kind != PLAIN else None
    options = tile(group * batch, made, outputs)
    block = min(64, max(16, triton.next_power_of_2(inputs)))
    grid = batch * triton.cdiv(made, options["M"]), triton.cdiv(outputs, options["N"]), group
    _wave_conv_kernel[grid](
        x, conv.kernel, conv.bias, conv.shape, x if residual is None else residual, x if alpha is None else alpha,
        x if mask is None else mask, x if total is None else total, x if act is None else act,
        size, made, batch, 0.0 if slope is None else slope, 0 if residual is None or len(residual) == 1 else 1,
        C=inputs, WIDTH=width, OUT=outputs, STRIDE=conv.stride, K=block, RESIDUAL=residual is not None, KIND=kind,
        MASKED=mask is not None, STORE=keep, LIMIT=torch.finfo(torch.float16).max, **options,
        **launch_options(x.device),
    )  # fmt: skip
    return total, act


def tile(rows: int, size: int, outputs: int) -> dict[str, int]:
    """Sizes of a program: smaller ones where there are few."""
    n = min(128, max(16, triton.next_power_of_2(outputs)))
    m = 128
    while m > 32 and rows * triton.cdiv(size, m) * triton.cdiv(outputs, n) < 264:
        m //= 2
    return {"M": m, "N": n, "num_warps": 8 if m * n > 8192 else 4, "num_stages": 3}


@triton.jit(do_not_specialize=["size", "made", "batch", "residual_step"])  # else compiled anew for many of them
def _wave_conv_kernel(
    x, weight, bias, shape, residual, alpha, mask, total, act, size, made, batch, slope, residual_step,
    C: tl.constexpr, WIDTH: tl.constexpr, OUT: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr,
    RESIDUAL: tl.constexpr, KIND: tl.constexpr, MASKED: tl.constexpr, STORE: tl.constexpr, LIMIT: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(made, M)
    row, layer = tl.program_id(0) // tiles, tl.program_id(2)
    t = (tl.program_id(0) % tiles) * M + tl.arange(0, M)
    n, k = tl.program_id(1) * N + tl.arange(0, N), tl.arange(0, K)
    taps, dilation = tl.load(shape + 4 * layer), tl.load(shape + 4 * layer + 1)
    padding, first = tl.load(shape + 4 * layer + 2), tl.load(shape + 4 * layer + 3)
    line = (layer * batch + row).to(tl.int64)
    begin = x + line * size * WIDTH
    blocks: tl.constexpr = (C + K - 1) // K
    acc = tl.zeros((M, N), dtype=tl.float32)
    wait_for_previous(PDL)
    for step in range(taps * blocks):
        tap, channel = step // blocks, (step % blocks) * K + k
        at = t * STRIDE + tap * dilation - padding
        inside = (at >= 0) & (at < size)
        kernel = weight + ((first + tap) * C + channel[:, None]) * OUT + n[None, :]
        if C % K == 0:
            taken = tl.load(begin + at[:, None] * WIDTH + channel[None, :], mask=inside[:, None], other=0.0)
        else:
            real = inside[:, None] & (channel[None, :] < C)
            taken = tl.load(begin + at[:, None] * WIDTH + channel[None, :], mask=real, other=0.0)
        if C % K == 0 and OUT % N == 0:
            held = tl.load(kernel)
        else:
            held = tl.load(kernel, mask=(channel[:, None] < C) & (n[None, :] < OUT), other=0.0)
        acc = tl.dot(taken, held, acc, input_precision="ieee")
    real = (t[:, None] < made) & (n[None, :] < OUT)
    acc += tl.load(bias + layer * OUT + n, mask=n < OUT, other=0.0)[None, :]
    place = t[:, None] * OUT + n[None, :]
    if RESIDUAL:
        beside = residual + (layer * residual_step * batch + row).to(tl.int64) * made * OUT
        acc += tl.load(beside + place, mask=real, other=0.0).to(tl.float32)
    if STORE:
        tl.store(total + line * made * OUT + place, fitting(acc, total, LIMIT), mask=real)
    if KIND > 0:
        if KIND == 1:
            a = tl.load(alpha + layer * OUT + n, mask=n < OUT, other=1.0).to(tl.float32)[None, :]
            acc = snake_of(acc, a)
        else:
            acc = tl.where(acc > 0, acc, acc * slope)
        if MASKED:
            exists = tl.load(mask + row.to(tl.int64) * made + t, mask=t < made, other=0)
            acc = tl.where((exists != 0)[:, None], acc, 0.0)
        tl.store(act + line * made * OUT + place, fitting(acc, act, LIMIT), mask=real)
