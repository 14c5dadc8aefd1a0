"""The gated norm of each head as one Triton kernel forward and one backward; launched by `mamtra.ops.mixer_triton`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 16


def gated_norm(y: Tensor, z: Tensor, weight: Tensor, normed: Tensor, eps: float, head_dim: int) -> None:
    """`mamtra.ops.norms.gated_rms_norm`, written into ``normed``.

    Args:
        y: (batch, length, heads * head_dim), contiguous.
        z: the same shape; contiguous along the last axis.
        weight: (heads * head_dim,).
        normed: the shape of ``y``, contiguous.
        eps: added to the mean square of each head.
        head_dim: a power of two.
    """
    _forward_kernel[_grid(y, head_dim)](y, z, weight, normed, y.shape[1], *_rows(z), eps, E=head_dim, T=ROWS)


def gated_norm_backward(
    grad: Tensor, y: Tensor, z: Tensor, weight: Tensor, y_grad: Tensor, z_grad: Tensor, eps: float, head_dim: int
) -> Tensor:
    """Write the gradients of y (contiguous) and z (contiguous along the last axis).

    Returns:
        (blocks, heads * head_dim) float32, whose sum over blocks is the gradient of the weight.
    """
    grid = _grid(y, head_dim)
    parts = torch.empty(grid[0], y.shape[2], dtype=torch.float32, device=y.device)
    _backward_kernel[grid](
        grad, y, z, weight, y_grad, z_grad, parts, y.shape[1], *_rows(z), *_rows(grad), *_rows(z_grad), eps,
        E=head_dim, T=ROWS,
    )  # fmt: skip
    return parts


def _grid(y: Tensor, head_dim: int) -> tuple[int, int]:
    return y.shape[0] * -(-y.shape[1] // ROWS), y.shape[2] // head_dim


def _rows(t: Tensor) -> tuple[int, int]:
    return t.stride(0), t.stride(1)


@triton.jit
def _forward_kernel(y_at, z_at, weight_at, normed_at, length, zb, zl, eps, E: tl.constexpr, T: tl.constexpr):
    blocks = tl.cdiv(length, T)
    row, first = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks * T
    e = tl.program_id(1) * E + tl.arange(0, E)
    i = first + tl.arange(0, T)
    valid = (i < length)[:, None]
    width = tl.num_programs(1) * E
    place = (row * length + i[:, None]) * width + e[None, :]
    y = tl.load(y_at + place, valid, 0.0).to(tl.float32)
    z = tl.load(z_at + row * zb + i[:, None] * zl + e[None, :], valid, 0.0).to(tl.float32)
    weight = tl.load(weight_at + e).to(tl.float32)
    gated = y * z / (1 + tl.exp(-z))
    normed = gated * tl.rsqrt(tl.sum(gated * gated, 1) / E + eps)[:, None] * weight[None, :]
    tl.store(normed_at + place, normed.to(normed_at.dtype.element_ty), valid)


@triton.jit
def _backward_kernel(
    grad_at, y_at, z_at, weight_at, y_grad, z_grad, weight_grad, length, zb, zl, gb, gl, ob, ol, eps,
    E: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(length, T)
    row, first = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks * T
    e = tl.program_id(1) * E + tl.arange(0, E)
    i = first + tl.arange(0, T)
    valid = (i < length)[:, None]
    width = tl.num_programs(1) * E
    place = (row * length + i[:, None]) * width + e[None, :]
    y = tl.load(y_at + place, valid, 0.0).to(tl.float32)
    z = tl.load(z_at + row * zb + i[:, None] * zl + e[None, :], valid, 0.0).to(tl.float32)
    grad = tl.load(grad_at + row * gb + i[:, None] * gl + e[None, :], valid, 0.0).to(tl.float32)
    weight = tl.load(weight_at + e).to(tl.float32)
    sigmoid = 1 / (1 + tl.exp(-z))
    gate = z * sigmoid
    gated = y * gate
    turn = tl.rsqrt(tl.sum(gated * gated, 1) / E + eps)[:, None]
    normed = gated * turn
    tl.store(weight_grad + tl.program_id(0) * width + e, tl.sum(grad * normed, 0))
    in_normed = grad * weight[None, :]
    in_gated = turn * (in_normed - normed * (tl.sum(in_normed * normed, 1) / E)[:, None])
    tl.store(y_grad + place, (in_gated * gate).to(y_grad.dtype.element_ty), valid)
    in_z = in_gated * y * sigmoid * (1 + z * (1 - sigmoid))
    tl.store(z_grad + row * ob + i[:, None] * ol + e[None, :], in_z.to(z_grad.dtype.element_ty), valid)
