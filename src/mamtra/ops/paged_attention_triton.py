"""`mamtra.ops.paged_attention` as one Triton kernel: a program for each row and head, which reads the pages where they are."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import launch_options, wait_for_previous
from mamtra.ops.length_attention_triton import take
from mamtra.ops.places import Places

WARPS, STAGES, REGISTERS = 4, 2, 128
"""With so few registers a thread four programs share a multiprocessor of Hopper's, so that 32 streams with guidance are computed at
once; measured with `WARPS` 8 and `STAGES` 1 and 3 too."""


def attend(q: Tensor, k: Tensor, v: Tensor, pages: Tensor, places: Places) -> Tensor:
    """See `mamtra.ops.paged_attention.paged_attention`; heads of a power of two from 16 on."""
    rows, heads, size, width = q.shape
    options = launch_options(q.device)
    if options["PDL"]:
        options = options | {"maxnreg": REGISTERS}
    out = torch.empty(rows, size, heads * width, dtype=q.dtype, device=q.device)
    _attend_kernel[(rows, heads)](
        q, k, v, out, pages,
        places.prefix, places.prefix_count, places.ring, places.ring_count, places.target, places.fresh,
        len(places.target), math.log2(math.e) / math.sqrt(width),
        *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], places.prefix.stride(0), places.ring.stride(0),
        places.prefix_count.stride(0), places.ring_count.stride(0), places.target.stride(0), places.fresh.stride(0),
        HEADS=heads, D=width, C=size, T=max(16, triton.next_power_of_2(size)), BRANCHES=pages.shape[1],
        R=places.ring.shape[1], HIDDEN=places.hidden, num_warps=WARPS, num_stages=STAGES, **options,
    )  # fmt: skip
    return out.unflatten(-1, (heads, width)).transpose(1, 2)


@triton.jit
def _page(query, base, page, stride, t, d, first, scale, top, total, acc, WIDTH: tl.constexpr, C: tl.constexpr):
    """The keys of one page from `first` on."""
    at = base + page.to(tl.int64) * stride + t[:, None] * WIDTH + d[None, :]
    inside = (t < C) & (t >= first)
    keys = tl.load(at, mask=inside[:, None], other=0.0)
    values = tl.load(at + C * WIDTH, mask=inside[:, None], other=0.0)
    scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
    return take(tl.where(inside[None, :], scores, float("-inf")), values, top, total, acc)


@triton.jit
def _attend_kernel(
    q, k, v, out, pages, prefix, prefix_count, ring, ring_count, target, fresh, rows, scale,
    qr, qh, qt, kr, kh, kt, vr, vh, vt, prefix_row, ring_row, prefix_step, ring_step, target_step, fresh_step,
    HEADS: tl.constexpr, D: tl.constexpr, C: tl.constexpr, T: tl.constexpr, BRANCHES: tl.constexpr,
    R: tl.constexpr, HIDDEN: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    branch_row, head = tl.program_id(0), tl.program_id(1)
    row, branch = branch_row % rows, branch_row // rows
    t, d = tl.arange(0, T), tl.arange(0, D)
    width: tl.constexpr = HEADS * D
    stride: tl.constexpr = BRANCHES * 2 * C * width
    base = pages + branch * (2 * C * width) + head * D

    inside = t[:, None] < C
    wait_for_previous(PDL)
    query = tl.load(q + branch_row * qr + head * qh + t[:, None] * qt + d[None, :], mask=inside, other=0.0)
    new = t < tl.load(fresh + row * fresh_step)
    keys = tl.load(k + branch_row * kr + head * kh + t[:, None] * kt + d[None, :], mask=new[:, None], other=0.0)
    values = tl.load(v + branch_row * vr + head * vh + t[:, None] * vt + d[None, :], mask=new[:, None], other=0.0)
    scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
    scores = tl.where(new[None, :], scores, float("-inf"))
    top = tl.max(scores, 1)
    weight = tl.exp2(scores - top[:, None])
    total = tl.sum(weight, 1)
    acc = tl.dot(weight.to(values.dtype), values, input_precision="ieee")

    # Only pages in use: a row may have few in front, or have just begun.
    for i in range(tl.load(prefix_count + row * prefix_step).to(tl.int32)):
        page = tl.load(prefix + row * prefix_row + i)
        top, total, acc = _page(query, base, page, stride, t, d, 0, scale, top, total, acc, width, C)
    for i in range(R - tl.load(ring_count + row * ring_step).to(tl.int32), R):
        page = tl.load(ring + row * ring_row + i)
        first = tl.where(i == 0, HIDDEN, 0)
        top, total, acc = _page(query, base, page, stride, t, d, first, scale, top, total, acc, width, C)

    # The page to write may be the oldest that was read.
    tl.debug_barrier()
    made = out + branch_row.to(tl.int64) * (C * width) + head * D + t[:, None] * width + d[None, :]
    tl.store(made, (acc / total[:, None]).to(out.dtype.element_ty), mask=inside)
    page = tl.load(target + row * target_step).to(tl.int64)
    at = base + page * stride + t[:, None] * width + d[None, :]
    tl.store(at, keys, mask=inside)
    tl.store(at + C * width, values, mask=inside)
