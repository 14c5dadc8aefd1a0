"""The gated norm of each head as one Triton kernel forward and one backward, for training on graphics cards."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 16


def gated_rms_norm_triton(y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int) -> Tensor:
    """`mamtra.ops.norms.gated_rms_norm`; y and z (batch, length, heads * head_dim), head_dim a power of two."""
    return _gated_norm(y, z, weight, eps, head_dim)


@torch.library.custom_op("mamtra::gated_norm", mutates_args=())
def _gated_norm(y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int) -> Tensor:
    y, z = _rows(y), _rows(z)
    normed = torch.empty(y.shape, dtype=y.dtype, device=y.device)
    _forward_kernel[_grid(y, head_dim)](y, z, weight, normed, *_places(y), *_places(z)[1:], eps, E=head_dim, T=ROWS)
    return normed


@_gated_norm.register_fake
def _empty(y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int) -> Tensor:
    return y.new_empty(y.shape)


@torch.library.custom_op("mamtra::gated_norm_backward", mutates_args=())
def _gated_norm_backward(
    grad: Tensor, y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    grads = _empty_backward(grad, y, z, weight, eps, head_dim)
    grad, y, z = _rows(grad), _rows(y), _rows(z)
    _backward_kernel[_grid(y, head_dim)](
        grad, y, z, weight, *grads, *_places(y), *_places(z)[1:], *_places(grad)[1:], eps, E=head_dim, T=ROWS
    )
    return grads


@_gated_norm_backward.register_fake
def _empty_backward(
    grad: Tensor, y: Tensor, z: Tensor, weight: Tensor, eps: float, head_dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the weight for every block of rows: their sum is left to the caller."""
    blocks = y.shape[0] * -(-y.shape[1] // ROWS)
    part = torch.empty(blocks, y.shape[2], dtype=torch.float32, device=y.device)
    return y.new_empty(y.shape), z.new_empty(z.shape), part


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps, ctx.head_dim = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    y, z, weight = ctx.saved_tensors
    in_y, in_z, in_weight = _gated_norm_backward(grad, y, z, weight, ctx.eps, ctx.head_dim)
    return in_y, in_z, in_weight.sum(0).to(weight.dtype), None, None


_gated_norm.register_autograd(_differentiate, setup_context=_keep)


def _rows(t: Tensor) -> Tensor:
    return t if t.stride(-1) == 1 else t.contiguous()


def _grid(y: Tensor, head_dim: int) -> tuple[int, int]:
    return y.shape[0] * -(-y.shape[1] // ROWS), y.shape[2] // head_dim


def _places(t: Tensor) -> tuple[int, int, int]:
    return t.shape[1], t.stride(0), t.stride(1)


@triton.jit
def _forward_kernel(
    y_at, z_at, weight_at, normed_at, length, yb, yl, zb, zl, eps, E: tl.constexpr, T: tl.constexpr
):  # fmt: skip
    blocks = tl.cdiv(length, T)
    row, first = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks * T
    e = tl.program_id(1) * E + tl.arange(0, E)
    i = first + tl.arange(0, T)
    valid = (i < length)[:, None]
    y = tl.load(y_at + row * yb + i[:, None] * yl + e[None, :], valid, 0.0).to(tl.float32)
    z = tl.load(z_at + row * zb + i[:, None] * zl + e[None, :], valid, 0.0).to(tl.float32)
    weight = tl.load(weight_at + e).to(tl.float32)
    gated = y * z / (1 + tl.exp(-z))
    normed = gated * tl.rsqrt(tl.sum(gated * gated, 1) / E + eps)[:, None] * weight[None, :]
    width = tl.num_programs(1) * E
    tl.store(normed_at + (row * length + i[:, None]) * width + e[None, :], normed.to(normed_at.dtype.element_ty), valid)


@triton.jit
def _backward_kernel(
    grad_at, y_at, z_at, weight_at, y_grad, z_grad, weight_grad, length, yb, yl, zb, zl, gb, gl, eps,
    E: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(length, T)
    row, first = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks * T
    e = tl.program_id(1) * E + tl.arange(0, E)
    i = first + tl.arange(0, T)
    valid = (i < length)[:, None]
    y = tl.load(y_at + row * yb + i[:, None] * yl + e[None, :], valid, 0.0).to(tl.float32)
    z = tl.load(z_at + row * zb + i[:, None] * zl + e[None, :], valid, 0.0).to(tl.float32)
    grad = tl.load(grad_at + row * gb + i[:, None] * gl + e[None, :], valid, 0.0).to(tl.float32)
    weight = tl.load(weight_at + e).to(tl.float32)
    share = 1 / (1 + tl.exp(-z))
    gate = z * share
    gated = y * gate
    turn = tl.rsqrt(tl.sum(gated * gated, 1) / E + eps)[:, None]
    normed = gated * turn
    width = tl.num_programs(1) * E
    tl.store(weight_grad + tl.program_id(0) * width + e, tl.sum(grad * normed, 0))
    in_normed = grad * weight[None, :]
    in_gated = turn * (in_normed - normed * (tl.sum(in_normed * normed, 1) / E)[:, None])
    place = (row * length + i[:, None]) * width + e[None, :]
    tl.store(y_grad + place, (in_gated * gate).to(y_grad.dtype.element_ty), valid)
    in_z = in_gated * y * share * (1 + z * (1 - share))
    tl.store(z_grad + place, in_z.to(z_grad.dtype.element_ty), valid)
