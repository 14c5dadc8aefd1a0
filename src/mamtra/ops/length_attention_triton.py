"""The kernel of `mamtra.ops.length_attention`: a program for some queries of a row and head, which stops at the row's length."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

QUERIES, KEYS, WARPS, STAGES = 128, 64, 4, 3


def attend(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor) -> Tensor:
    """See `mamtra.ops.length_attention.length_attention`; heads of a power of two from 16 on."""
    rows, heads, size, width = q.shape
    out = torch.empty(rows, size, heads * width, dtype=q.dtype, device=q.device)
    _attend_kernel[(triton.cdiv(size, QUERIES), rows * heads)](
        q, k, v, out, lengths, size, math.log2(math.e) / math.sqrt(width), *q.stride()[:3], *k.stride()[:3], *v.stride()[:3],
        HEADS=heads, D=width, M=QUERIES, N=KEYS, num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out.unflatten(-1, (heads, width)).transpose(1, 2)


@triton.jit
def take(scores, values, top, total, acc):
    """One more block of keys in a running softmax."""
    new = tl.maximum(top, tl.max(scores, 1))
    weight = tl.exp2(scores - new[:, None])
    shrink = tl.exp2(top - new)
    acc = tl.dot(weight.to(values.dtype), values, acc * shrink[:, None], input_precision="ieee")
    return new, total * shrink + tl.sum(weight, 1), acc


@triton.jit
def _attend_kernel(
    q, k, v, out, lengths, size, scale, qr, qh, qt, kr, kh, kt, vr, vh, vt,
    HEADS: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    t, n, d = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, N), tl.arange(0, D)
    inside = (t < size)[:, None]
    made = out + (row.to(tl.int64) * size + t[:, None]) * (HEADS * D) + head * D + d[None, :]
    length = tl.load(lengths + row).to(tl.int32)
    if tl.program_id(0) * M >= length:
        tl.store(made, tl.zeros((M, D), out.dtype.element_ty), mask=inside)
        return
    query = tl.load(q + row.to(tl.int64) * qr + head * qh + t[:, None] * qt + d[None, :], mask=inside, other=0.0)
    keys_at = k + row.to(tl.int64) * kr + head * kh + n[None, :] * kt + d[:, None]
    values_at = v + row.to(tl.int64) * vr + head * vh + n[:, None] * vt + d[None, :]
    top = tl.full((M,), float("-inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)
    acc = tl.zeros((M, D), tl.float32)
    whole = length // N * N
    for begin in range(0, whole, N):
        keys, values = tl.load(keys_at + begin * kt), tl.load(values_at + begin * vt)
        top, total, acc = take(tl.dot(query, keys, input_precision="ieee") * scale, values, top, total, acc)
    for begin in range(whole, length, N):
        real = begin + n < length
        keys = tl.load(keys_at + begin * kt, mask=real[None, :], other=0.0)
        values = tl.load(values_at + begin * vt, mask=real[:, None], other=0.0)
        scores = tl.where(real[None, :], tl.dot(query, keys, input_precision="ieee") * scale, float("-inf"))
        top, total, acc = take(scores, values, top, total, acc)
    tl.store(made, (acc / total[:, None]).to(out.dtype.element_ty), mask=inside)
