"""Causal convolution with SiLU as one Triton kernel forward and one backward, for training on graphics cards."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 32, 64


def causal_conv1d_silu_triton(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`mamtra.ops.conv.causal_conv1d_silu`."""
    return _conv_silu(x, weight, bias)


@torch.library.custom_op("mamtra::conv_silu", mutates_args=())
def _conv_silu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    x, weight = _rows(x), weight.contiguous()
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _forward_kernel[_grid(x)](
        x, weight, bias, y, *x.shape[1:], *x.stride()[:2], K=weight.shape[1], T=ROWS, E=CHANNELS
    )  # fmt: skip
    return y


@_conv_silu.register_fake
def _empty(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("mamtra::conv_silu_backward", mutates_args=())
def _conv_silu_backward(grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grads = _empty_backward(grad, x, weight, bias)
    grad, x, weight = _rows(grad), _rows(x), weight.contiguous()
    _backward_kernel[_grid(x)](
        grad, x, weight, bias, *grads, *x.shape[1:], *x.stride()[:2], *grad.stride()[:2],
        K=weight.shape[1], T=ROWS, E=CHANNELS,
    )  # fmt: skip
    return grads


@_conv_silu_backward.register_fake
def _empty_backward(grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of weight and bias for every block of rows: their sums are left to the caller."""
    blocks, channels = x.shape[0] * -(-x.shape[1] // ROWS), x.shape[2]
    parts = [torch.empty(blocks, *shape, dtype=torch.float32, device=x.device) for shape in ((channels,), weight.shape)]
    return x.new_empty(x.shape), parts[1], parts[0]


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, bias = ctx.saved_tensors
    in_x, in_weight, in_bias = _conv_silu_backward(grad, x, weight, bias)
    return in_x, in_weight.sum(0).to(weight.dtype), in_bias.sum(0).to(bias.dtype)


_conv_silu.register_autograd(_differentiate, setup_context=_keep)


def _rows(t: Tensor) -> Tensor:
    return t if t.stride(-1) == 1 else t.contiguous()


def _grid(x: Tensor) -> tuple[int, int]:
    return x.shape[0] * -(-x.shape[1] // ROWS), -(-x.shape[2] // CHANNELS)


@triton.jit
def _inner(x_at, weight_at, i, e, known, xl, bias, length, K: tl.constexpr):
    """The convolution at some positions, float32."""
    inner = tl.zeros([i.shape[0], e.shape[0]], tl.float32) + bias[None, :]
    for k in tl.static_range(K):
        at = i - (K - 1) + k
        x = tl.load(x_at + at[:, None] * xl + e[None, :], ((at >= 0) & (at < length))[:, None] & known[None, :], 0.0)
        inner += x.to(tl.float32) * tl.load(weight_at + e * K + k, known, 0.0).to(tl.float32)[None, :]
    return inner


@triton.jit
def _forward_kernel(
    x_at, weight_at, bias_at, y_at, length, channels, xb, xl, K: tl.constexpr, T: tl.constexpr, E: tl.constexpr
):  # fmt: skip
    blocks = tl.cdiv(length, T)
    row, first = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks * T
    e = tl.program_id(1) * E + tl.arange(0, E)
    i = first + tl.arange(0, T)
    known = e < channels
    bias = tl.load(bias_at + e, known, 0.0).to(tl.float32)
    inner = _inner(x_at + row * xb, weight_at, i, e, known, xl, bias, length, K)
    y = (inner / (1 + tl.exp(-inner))).to(y_at.dtype.element_ty)
    tl.store(y_at + (row * length + i[:, None]) * channels + e[None, :], y, (i < length)[:, None] & known[None, :])


@triton.jit
def _backward_kernel(
    grad_at, x_at, weight_at, bias_at, x_grad, weight_grad, bias_grad, length, channels, xb, xl, gb, gl,
    K: tl.constexpr, T: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(length, T)
    row, first = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks * T
    e = tl.program_id(1) * E + tl.arange(0, E)
    i = first + tl.arange(0, T)
    known = e < channels
    bias = tl.load(bias_at + e, known, 0.0).to(tl.float32)
    in_x = tl.zeros([T, E], tl.float32)
    part = tl.program_id(0) * channels + e
    for later in tl.static_range(K):  # an input meets the tap K - 1 - later in the output so many positions on
        at = i + later
        inner = _inner(x_at + row * xb, weight_at, at, e, known, xl, bias, length, K)
        share = 1 / (1 + tl.exp(-inner))
        inside = (at < length)[:, None] & known[None, :]
        grad = tl.load(grad_at + row * gb + at[:, None] * gl + e[None, :], inside, 0.0).to(tl.float32)
        in_inner = grad * share * (1 + inner * (1 - share))
        in_x += in_inner * tl.load(weight_at + e * K + (K - 1 - later), known, 0.0).to(tl.float32)[None, :]
        x = tl.load(x_at + row * xb + i[:, None] * xl + e[None, :], (i < length)[:, None] & known[None, :], 0.0)
        tl.store(weight_grad + part * K + (K - 1 - later), tl.sum(in_inner * x.to(tl.float32), 0), known)
        if later == 0:
            tl.store(bias_grad + part, tl.sum(in_inner, 0), known)
    place = (row * length + i[:, None]) * channels + e[None, :]
    tl.store(x_grad + place, in_x.to(x_grad.dtype.element_ty), (i < length)[:, None] & known[None, :])
