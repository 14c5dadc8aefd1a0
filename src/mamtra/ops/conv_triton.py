"""Causal convolution with SiLU as one Triton kernel forward and one backward, for training on graphics cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 32, 128
"""A program computes so many channels of so many positions at a time."""


def causal_conv1d_silu_triton(
    x: Tensor, weight: Tensor, bias: Tensor, sizes: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """`mamtra.ops.conv.causal_conv1d_silu` of at most four taps into three parts that a power of two from 16 on divides."""
    return _conv_silu(x, weight, bias, list(sizes))


@torch.library.custom_op("mamtra::conv_silu", mutates_args=())
def _conv_silu(x: Tensor, weight: Tensor, bias: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    parts = _empty(x, weight, bias, sizes)
    x, weight = _rows(x), weight.contiguous()
    width, blocks = _block(sizes), -(-x.shape[1] // ROWS)
    _forward_kernel[(x.shape[0] * blocks, x.shape[2] // width)](
        x, weight, bias, *parts, x.shape[1], *x.stride()[:2], *sizes, K=weight.shape[1], T=ROWS, E=width
    )
    return parts


@_conv_silu.register_fake
def _empty(x: Tensor, weight: Tensor, bias: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = (x.new_empty(*x.shape[:2], size) for size in sizes)
    return first, second, third


@torch.library.custom_op("mamtra::conv_silu_backward", mutates_args=())
def _conv_silu_backward(
    first: Tensor, second: Tensor, third: Tensor, x: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grads = _empty_backward(first, second, third, x, weight, bias)
    parts = [t.contiguous() for t in (first, second, third)]
    x, weight = _rows(x), weight.contiguous()
    sizes = [t.shape[2] for t in parts]
    width, rows = _block(sizes), ROWS // 2
    # gradients before the SiLU, rounded like x: every tap reads them again
    inner = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _backward_kernel[(x.shape[0], x.shape[2] // width)](
        *parts, x, weight, bias, *grads, inner, x.shape[1], -(-x.shape[1] // rows), *x.stride()[:2], *sizes,
        K=weight.shape[1], T=rows, E=width,
    )  # fmt: skip
    return grads


@_conv_silu_backward.register_fake
def _empty_backward(
    first: Tensor, second: Tensor, third: Tensor, x: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of weight and bias for every row: their sums are left to the caller."""
    per_row = [torch.empty(x.shape[0], *t.shape, dtype=torch.float32, device=x.device) for t in (weight, bias)]
    return x.new_empty(x.shape), per_row[0], per_row[1]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:3])


def _differentiate(ctx: Any, *parts: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias = ctx.saved_tensors
    in_x, in_weight, in_bias = _conv_silu_backward(*parts, x, weight, bias)
    return in_x, in_weight.sum(0).to(weight.dtype), in_bias.sum(0).to(bias.dtype), None


_conv_silu.register_autograd(_differentiate, setup_context=_keep)


def _rows(t: Tensor) -> Tensor:
    return t if t.stride(-1) == 1 else t.contiguous()


def _block(sizes: Sequence[int]) -> int:
    """Channels of a program: no block of them lies in two parts."""
    width = CHANNELS
    while any(size % width for size in sizes):
        width //= 2
    return width


@triton.jit
def _at(t_at, i, e, stride, length):
    """Some channels at some positions, float32; zero outside of the row."""
    return tl.load(t_at + i[:, None] * stride + e[None, :], ((i >= 0) & (i < length))[:, None], 0.0).to(tl.float32)


@triton.jit
def _inner(x_at, weight_at, i, e, xl, bias, length, K: tl.constexpr):
    """The convolution at some positions, float32."""
    inner = tl.zeros([i.shape[0], e.shape[0]], tl.float32) + bias[None, :]
    for lag in tl.static_range(K):
        inner += _at(x_at, i - lag, e, xl, length) * tl.load(weight_at + e * K + K - 1 - lag).to(tl.float32)[None, :]
    return inner


@triton.jit
def _part(first, second, third, channel, n1, n2, n3):
    """Where the part with a channel begins, its size, and the channel's number in it."""
    at, size, inside = first, n1, channel
    if channel >= n1 + n2:
        at, size, inside = third, n3, channel - n1 - n2
    elif channel >= n1:
        at, size, inside = second, n2, channel - n1
    return at, size, inside


@triton.jit
def _forward_kernel(
    x_at, weight_at, bias_at, first, second, third, length, xb, xl, n1, n2, n3,
    K: tl.constexpr, T: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(length, T)
    row, begin = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks * T
    channel = tl.program_id(1) * E
    e = channel + tl.arange(0, E)
    i = begin + tl.arange(0, T)
    inner = _inner(x_at + row * xb, weight_at, i, e, xl, tl.load(bias_at + e).to(tl.float32), length, K)
    y_at, size, inside = _part(first, second, third, channel, n1, n2, n3)
    y = (inner / (1 + tl.exp(-inner))).to(y_at.dtype.element_ty)
    tl.store(y_at + (row * length + i[:, None]) * size + inside + tl.arange(0, E)[None, :], y, (i < length)[:, None])


@triton.jit
def _backward_kernel(
    first, second, third, x_at, weight_at, bias_at, x_grad, weight_grad, bias_grad, inner_at, length, blocks, xb, xl,
    n1, n2, n3, K: tl.constexpr, T: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Some channels of one row, from its end on: an input's gradient needs those of the K - 1 outputs behind it."""
    row, channel = tl.program_id(0).to(tl.int64), tl.program_id(1) * E
    channels = n1 + n2 + n3
    e = channel + tl.arange(0, E)
    bias = tl.load(bias_at + e).to(tl.float32)
    grad_at, size, inside = _part(first, second, third, channel, n1, n2, n3)
    grad_at += row * length * size
    x_at += row * xb
    inner_at += row * length * channels
    in_bias = tl.zeros([T, E], tl.float32)
    in_tap_0, in_tap_1, in_tap_2, in_tap_3 = in_bias, in_bias, in_bias, in_bias  # by how far back they look
    for back in range(blocks):
        i = (blocks - 1 - back) * T + tl.arange(0, T)
        inner = _inner(x_at, weight_at, i, e, xl, bias, length, K)
        share = 1 / (1 + tl.exp(-inner))
        grad = _at(grad_at, i, inside + tl.arange(0, E), size, length) * share * (1 + inner * (1 - share))
        place = i[:, None] * channels + e[None, :]
        tl.store(inner_at + place, grad.to(inner_at.dtype.element_ty), (i < length)[:, None])
        tl.debug_barrier()  # other threads read what was written
        in_bias += grad
        in_tap_0 += grad * _at(x_at, i, e, xl, length)
        in_x = grad * tl.load(weight_at + e * K + K - 1).to(tl.float32)[None, :]
        for lag in tl.static_range(1, K):
            tap = tl.load(weight_at + e * K + K - 1 - lag).to(tl.float32)[None, :]
            in_x += tap * _at(inner_at, i + lag, e, channels, length)
            product = grad * _at(x_at, i - lag, e, xl, length)
            if lag == 1:
                in_tap_1 += product
            elif lag == 2:
                in_tap_2 += product
            else:
                in_tap_3 += product
        tl.store(x_grad + row * length * channels + place, in_x.to(x_grad.dtype.element_ty), (i < length)[:, None])
    at = row * channels + e
    tl.store(bias_grad + at, tl.sum(in_bias, 0))
    tl.store(weight_grad + at * K + K - 1, tl.sum(in_tap_0, 0))
    if K > 1:
        tl.store(weight_grad + at * K + K - 2, tl.sum(in_tap_1, 0))
    if K > 2:
        tl.store(weight_grad + at * K + K - 3, tl.sum(in_tap_2, 0))
    if K > 3:
        tl.store(weight_grad + at * K + K - 4, tl.sum(in_tap_3, 0))
