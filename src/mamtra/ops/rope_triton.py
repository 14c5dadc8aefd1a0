"""RoPE of queries and keys from a joint projection as a Triton kernel, for training on GPUs."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 32


def rope_triton(joint: Tensor, cos: Tensor, sin: Tensor, heads: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """RoPE-rotated queries and keys (see `mamtra.ops.rope.apply_rope`), and values.

    Args:
        joint: (B, L, (heads + 2 * groups) * head_dim), queries, keys and values concatenated; head_dim a power of two.
        cos: (L, head_dim) float32, from `mamtra.ops.rope.rope_table`.
        sin: the same, signed.
        heads: of the queries.
        groups: heads of keys and values.

    Returns:
        (B, L, heads or groups, head_dim) in the dtype of ``joint``.
    """
    return _rope(joint, cos, sin, heads, groups)


@torch.library.custom_op("mamtra::rope", mutates_args=())
def _rope(joint: Tensor, cos: Tensor, sin: Tensor, heads: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    parts = _empty(joint, cos, sin, heads, groups)
    _launch(joint.contiguous(), parts, cos, sin, back=False)
    return parts


@_rope.register_fake
def _empty(joint: Tensor, cos: Tensor, sin: Tensor, heads: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (joint.new_empty(*joint.shape[:2], n, cos.shape[-1]) for n in (heads, groups, groups))
    return q, k, v


@torch.library.custom_op("mamtra::rope_backward", mutates_args=())
def _rope_backward(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    joint = _empty_joint(q, k, v, cos, sin)
    _launch(joint, [t if t.stride(-1) == 1 else t.contiguous() for t in (q, k, v)], cos, sin, back=True)
    return joint


@_rope_backward.register_fake
def _empty_joint(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return q.new_empty(*q.shape[:2], sum(t.shape[2] for t in (q, k, v)) * q.shape[3])


def _launch(joint: Tensor, parts: Any, cos: Tensor, sin: Tensor, *, back: bool) -> None:
    batch, length, heads, size = parts[0].shape
    groups = parts[1].shape[2]
    strides = [s for t in parts for s in t.stride()[:3]]
    _rotate_kernel[(batch * -(-length // ROWS), heads + 2 * groups)](
        joint, *parts, cos.contiguous(), sin.contiguous(), length, heads, groups, *strides,
        D=size, T=ROWS, BACK=back,
    )  # fmt: skip


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[1:3])


def _differentiate(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor | None, ...]:
    return _rope_backward(q, k, v, *ctx.saved_tensors), None, None, None, None


_rope.register_autograd(_differentiate, setup_context=_keep)


@triton.jit
def _rotate_kernel(
    joint, q_at, k_at, v_at, cos_at, sin_at, length, heads, groups, qb, ql, qh, kb, kl, kh, vb, vl, vh,
    D: tl.constexpr, T: tl.constexpr, BACK: tl.constexpr,
):  # fmt: skip
    """Some positions of one head, from the joint tensor to its part, or back with the inverse rotation."""
    blocks = tl.cdiv(length, T)
    row, head = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(1)
    i = tl.program_id(0) % blocks * T + tl.arange(0, T)
    e = tl.arange(0, D // 2)  # distance of the two channels of a pair
    inside = (i < length)[:, None]
    part = q_at + row * qb + head * qh + i[:, None] * ql + e[None, :]
    if head >= heads + groups:
        part = v_at + row * vb + (head - heads - groups) * vh + i[:, None] * vl + e[None, :]
    elif head >= heads:
        part = k_at + row * kb + (head - heads) * kh + i[:, None] * kl + e[None, :]
    whole = joint + ((row * length + i[:, None]) * (heads + 2 * groups) + head) * D + e[None, :]
    source, target = whole, part
    if BACK:
        source, target = part, whole
    low = tl.load(source, inside, 0.0).to(tl.float32)
    high = tl.load(source + D // 2, inside, 0.0).to(tl.float32)
    cos = tl.load(cos_at + i[:, None] * D + e[None, :], inside, 0.0)
    # of the second half, which has no minus sign
    sin = tl.load(sin_at + i[:, None] * D + D // 2 + e[None, :], inside, 0.0)
    if BACK:
        sin = -sin
    if head >= heads + groups:
        cos, sin = tl.full(cos.shape, 1.0, tl.float32), tl.zeros(sin.shape, tl.float32)
    tl.store(target, (low * cos - high * sin).to(target.dtype.element_ty), inside)
    tl.store(target + D // 2, (high * cos + low * sin).to(target.dtype.element_ty), inside)
