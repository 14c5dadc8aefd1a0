"""Causal convolution with SiLU as one Triton kernel forward and one backward; launched by `mamtra.ops.mixer_triton`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 32, 128
"""Channels and positions that one program of the forward kernel computes."""
SEGMENTS, STEPS = 4, 32
"""Segments of a row that one program of the backward kernel handles, and positions of each."""


def conv_silu(x: Tensor, weight: Tensor, bias: Tensor, parts: Sequence[Tensor]) -> None:
    """`mamtra.ops.conv.causal_conv1d_silu`, written into three parts.

    Args:
        x: (batch, length, channels), contiguous along channels.
        weight: (channels, K), contiguous, at most four taps.
        bias: (channels,).
        parts: (batch, length, size) each, contiguous, sizes a multiple of 16 and together the channels.
    """
    sizes = [part.shape[2] for part in parts]
    width, blocks = _block(sizes), -(-x.shape[1] // ROWS)
    _forward_kernel[(x.shape[0] * blocks, x.shape[2] // width)](
        x, weight, bias, *parts, x.shape[1], *x.stride()[:2], *sizes, K=weight.shape[1], T=ROWS, E=width
    )


def conv_silu_backward(grads: Sequence[Tensor], x: Tensor, weight: Tensor, bias: Tensor, x_grad: Tensor) -> Tensor:
    """Write the gradient of x.

    Args:
        grads: of the parts, contiguous: of the first two (batch, length, repeats, size), to be summed over the repeats,
            and of the third (batch, length, size).
        x: as in `conv_silu`.
        weight: as in `conv_silu`.
        bias: as in `conv_silu`.
        x_grad: the shape of x, contiguous along channels.

    Returns:
        (programs, channels, K + 1) float32, summed over programs the gradients of weight and (last column) bias.
    """
    batch, length, channels = x.shape
    sizes, taps = [grad.shape[-1] for grad in grads], weight.shape[1]
    width, blocks = _block(sizes), -(-length // (SEGMENTS * STEPS))
    sums = torch.empty(batch * blocks, channels, taps + 1, dtype=torch.float32, device=x.device)
    _backward_kernel[(batch * blocks * (channels // width),)](
        *grads, x, weight, bias, x_grad, sums, length, blocks, *x.stride()[:2], *x_grad.stride()[:2], *sizes,
        R=grads[0].shape[2], K=taps, S=SEGMENTS, T=STEPS, E=width,
    )  # fmt: skip
    return sums


def _block(sizes: Sequence[int]) -> int:
    """Channels of a program: no block of them lies in two parts."""
    width = CHANNELS
    while any(size % width for size in sizes):
        width //= 2
    return width


@triton.jit
def _at(t_at, i, e, stride, length):
    """Some channels at some positions, float32; zero outside the row."""
    return tl.load(t_at + i[:, None] * stride + e[None, :], ((i >= 0) & (i < length))[:, None], 0.0).to(tl.float32)


@triton.jit
def _part(first, second, third, channel, n1, n2, n3):
    """Offset of the part that holds a channel, its size, and the index of the channel in it."""
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
    inner = tl.zeros([T, E], tl.float32) + tl.load(bias_at + e).to(tl.float32)[None, :]
    for lag in tl.static_range(K):
        inner += _at(x_at + row * xb, i - lag, e, xl, length) * _tap(weight_at, e, lag, K)
    y_at, size, inside = _part(first, second, third, channel, n1, n2, n3)
    y = (inner / (1 + tl.exp(-inner))).to(y_at.dtype.element_ty)
    tl.store(y_at + (row * length + i[:, None]) * size + inside + tl.arange(0, E)[None, :], y, (i < length)[:, None])


@triton.jit
def _tap(weight_at, e, lag: tl.constexpr, K: tl.constexpr):
    """The weight of the input `back` steps earlier, for some channels; zero where there is no such tap."""
    tap = tl.zeros([e.shape[0]], tl.float32)
    if lag < K:
        tap = tl.load(weight_at + e * K + (K - 1 - lag)).to(tl.float32)
    return tap[None, :]


@triton.jit
def _summed(t_at, i, e, size, length, repeated, R: tl.constexpr):
    """What `_at` gives, or the sum of R such where the values of a position are repeated."""
    if repeated:
        total = _at(t_at, i, e, size * R, length)
        for r in tl.static_range(1, R):
            total += _at(t_at + r * size, i, e, size * R, length)
    else:
        total = _at(t_at, i, e, size, length)
    return total


@triton.jit
def _backward_kernel(
    first, second, third, x_at, weight_at, bias_at, x_grad, sums_at, length, blocks, xb, xl, gb, gl, n1, n2, n3,
    R: tl.constexpr, K: tl.constexpr, S: tl.constexpr, T: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Some channels of S segments, which all advance by one position a step.

    Inputs and gradients of the last four positions stay in registers. An input's gradient needs the three following outputs, so
    it is complete three steps later; the last steps reach past the end of a segment.
    """
    channels = n1 + n2 + n3
    across = channels // E
    block = (
        tl.program_id(0) // across
    )  # neighbouring blocks of channels run together, as their values are adjacent in memory
    channel = tl.program_id(0) % across * E
    row, begin = (block // blocks).to(tl.int64), block % blocks * (S * T)
    e = channel + tl.arange(0, E)
    starts = begin + tl.arange(0, S) * T
    x_at += row * xb
    x_grad += row * gb
    grad_at, size, inside = _part(first, second, third, channel, n1, n2, n3)
    repeated = channel < n1 + n2
    if repeated:
        grad_at += row * length * size * R
    else:
        grad_at += row * length * size
    inside += tl.arange(0, E)

    bias = tl.load(bias_at + e).to(tl.float32)[None, :]
    tap_0, tap_1 = _tap(weight_at, e, 0, K), _tap(weight_at, e, 1, K)
    tap_2, tap_3 = _tap(weight_at, e, 2, K), _tap(weight_at, e, 3, K)
    in_bias = tl.zeros([S, E], tl.float32)
    in_tap_0, in_tap_1, in_tap_2, in_tap_3 = in_bias, in_bias, in_bias, in_bias
    x_1 = _at(x_at, starts - 1, e, xl, length)
    x_2 = _at(x_at, starts - 2, e, xl, length)
    x_3 = _at(x_at, starts - 3, e, xl, length)
    # gradients before the SiLU, by how many steps ago. Of what they begin with nothing is stored; were it the same for all three,
    # Triton 3.6 and 3.9 would take them for one value
    grad_1, grad_2, grad_3 = x_3, x_1, x_2
    next_x = _at(x_at, starts, e, xl, length)
    next_grad = _summed(grad_at, starts, inside, size, length, repeated, R)
    for step in range(T + 3):
        i = starts + step
        x_0, grad = next_x, next_grad
        next_x = _at(x_at, i + 1, e, xl, length)  # on its way while this step is computed
        next_grad = _summed(grad_at, i + 1, inside, size, length, repeated, R)
        inner = bias + tap_0 * x_0 + tap_1 * x_1 + tap_2 * x_2 + tap_3 * x_3
        sigmoid = 1 / (1 + tl.exp(-inner))
        grad_0 = grad * sigmoid * (1 + inner * (1 - sigmoid))
        in_x = tap_0 * grad_3 + tap_1 * grad_2 + tap_2 * grad_1 + tap_3 * grad_0
        known = (i - 3 >= starts) & (i - 3 < length)
        place = (i - 3)[:, None] * gl + e[None, :]
        tl.store(x_grad + place, in_x.to(x_grad.dtype.element_ty), known[:, None])
        own = tl.where((i < starts + T)[:, None], grad_0, 0.0)
        in_bias += own
        in_tap_0 += own * x_0
        in_tap_1 += own * x_1
        in_tap_2 += own * x_2
        in_tap_3 += own * x_3
        x_1, x_2, x_3 = x_0, x_1, x_2
        grad_1, grad_2, grad_3 = grad_0, grad_1, grad_2
    sums_at += (block.to(tl.int64) * channels + e) * (K + 1)
    tl.store(sums_at + K, tl.sum(in_bias, 0))
    tl.store(sums_at + K - 1, tl.sum(in_tap_0, 0))
    if K > 1:
        tl.store(sums_at + K - 2, tl.sum(in_tap_1, 0))
    if K > 2:
        tl.store(sums_at + K - 3, tl.sum(in_tap_2, 0))
    if K > 3:
        tl.store(sums_at + K - 4, tl.sum(in_tap_3, 0))
