"""`mamtra.ops.decode_attention` as one Triton kernel: the cached positions of a row are split over programs.

Each program reads its part of the cache once for all query heads of a group. The last program of a group to finish merges the
parts in a fixed order, so that results do not depend on timing.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import Workspace, launch_options, prefetch, wait_for_previous

MOST_SPLITS = 32
BLOCK = 128
"""Positions read at a time."""
PROGRAMS = 128
"""Programs that a launch is split into, where there are fewer rows and groups."""


def choose_splits(pairs: int, capacity: int) -> int:
    """Programs that share a row and a group, a power of two; measured on an H100.

    It depends on shapes only, never on lengths: equal shapes add up in equal order.

    Args:
        pairs: rows times groups.
        capacity: positions of a slot.
    """
    splits = 1
    while splits < MOST_SPLITS and pairs * splits < PROGRAMS and splits * 2 * BLOCK <= capacity:
        splits *= 2
    return splits


def partials_needed(rows: int, heads: int, head_dim: int) -> int:
    """float32 values of scratch memory."""
    return MOST_SPLITS * rows * heads * (head_dim + 2)


def decode_attention_triton(
    qkv: Tensor,
    cache: Tensor,
    slots: Tensor,
    lengths: Tensor,
    cos: Tensor,
    sin: Tensor,
    workspace: Workspace | None,
    splits: int | None = None,
) -> Tensor:
    """See `mamtra.ops.decode_attention.decode_attention`; ``splits`` overrides the choice by shape."""
    _, _, groups, capacity, dim = cache.shape
    rows = qkv.shape[0]
    heads = qkv.shape[1] // dim - 2 * groups
    splits = splits or choose_splits(rows * groups, capacity)
    many = rows * groups >= 32
    launch = {"num_warps": 8, "num_stages": 3} if many else {"num_warps": 4, "num_stages": 2}
    out = qkv.new_empty(rows, heads * dim)
    scratch = (out, out) if splits == 1 else (workspace.partials, workspace.counters)
    _attention_kernel[(groups, splits, rows)](
        qkv, cache, slots, lengths, cos, sin, out, *scratch, qkv.stride(0), cache.stride(0), capacity,
        dim**-0.5 * 1.4426950408889634, SPLITS=splits, G=groups, R=heads // groups,
        RP=max(16, triton.next_power_of_2(heads // groups)),
        MERGED=triton.next_power_of_2(heads // groups), D=dim, BLOCK=BLOCK, **launch, **launch_options(qkv.device),
    )  # fmt: skip
    return out


@triton.jit
def _attention_kernel(
    qkv_at, cache_at, slots_at, lengths_at, cos_at, sin_at, out_at, parts_at, counters_at, width, slot_size, capacity,
    scale,
    SPLITS: tl.constexpr, G: tl.constexpr, R: tl.constexpr, RP: tl.constexpr,
    MERGED: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    group, split, row = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    r, d, t = tl.arange(0, RP), tl.arange(0, D), tl.arange(0, BLOCK)
    across = (d + D // 2) % D
    slot = tl.load(slots_at + row).to(tl.int64)
    length = tl.load(lengths_at + slot).to(tl.int32)
    kind = qkv_at.dtype.element_ty
    keys_at = cache_at + slot * slot_size + group * capacity * D
    values_at = keys_at + G * capacity * D
    # every part a multiple of the block, the new position in one of them
    part = tl.cdiv(tl.cdiv(length + 1, SPLITS), BLOCK) * BLOCK
    begin = split * part
    end = tl.minimum(begin + part, length)
    inside = begin + t < end
    place = (begin + t)[:, None] * D + d[None, :]
    # cached positions do not depend on the kernel before
    keys = tl.load(keys_at + place, inside[:, None], 0.0)
    values = tl.load(values_at + place, inside[:, None], 0.0)
    if PDL:
        LINE: tl.constexpr = 128 // (kind.primitive_bitwidth // 8)
        LINES: tl.constexpr = (D + LINE - 1) // LINE
        lines = tl.minimum(begin + BLOCK + tl.arange(0, 128), length)[:, None] * D + tl.arange(0, LINES)[None, :] * LINE
        prefetch(keys_at + lines, PDL)
        prefetch(values_at + lines, PDL)
    cos, sin = tl.load(cos_at + length * D + d), tl.load(sin_at + length * D + d)
    wait_for_previous(PDL)

    own = qkv_at + row * width
    heads = group * R + r
    real = (r < R)[:, None]
    q = tl.load(own + heads[:, None] * D + d[None, :], real, 0.0).to(tl.float32)
    q_across = tl.load(own + heads[:, None] * D + across[None, :], real, 0.0).to(tl.float32)
    q = (q * cos[None, :] + q_across * sin[None, :]).to(kind)
    own += (G * R + group) * D
    k = tl.load(own + d).to(tl.float32) * cos + tl.load(own + across).to(tl.float32) * sin
    k, v = k.to(kind), tl.load(own + G * D + d)

    # the program whose part holds the new position starts from it, the others from nothing
    mine = (begin <= length) & (length < begin + part)
    if mine:
        tl.store(keys_at + length * D + d, k.to(cache_at.dtype.element_ty))
        tl.store(values_at + length * D + d, v.to(cache_at.dtype.element_ty))
    score = tl.sum(q.to(tl.float32) * k.to(tl.float32)[None, :], 1) * scale
    top = tl.where(mine, score, float("-inf"))
    total = tl.where(mine, 1.0, 0.0) + tl.zeros([RP], tl.float32)
    y = tl.where(mine, v.to(tl.float32), 0.0)[None, :] + tl.zeros([RP, D], tl.float32)
    if begin < end:
        top, total, y = _attend(q, keys.to(kind), values.to(kind), inside, scale, top, total, y)
    for start in range(begin + BLOCK, end, BLOCK):
        inside = start + t < end
        place = (start + t)[:, None] * D + d[None, :]
        keys = tl.load(keys_at + place, inside[:, None], 0.0)
        values = tl.load(values_at + place, inside[:, None], 0.0)
        top, total, y = _attend(q, keys.to(kind), values.to(kind), inside, scale, top, total, y)
    out = out_at + (row * G + group) * R * D
    if SPLITS == 1:
        tl.store(out + r[:, None] * D + d[None, :], (y / total[:, None]).to(kind), real)
    else:
        pair = row * G + group
        pairs = tl.num_programs(2) * G
        # partial results (pairs, R, SPLITS, D), then maxima and sums (pairs, R, SPLITS)
        parts = parts_at + pair * R * SPLITS * D
        tops = parts_at + pairs * R * SPLITS * D + pair * R * SPLITS
        totals = tops + pairs * R * SPLITS
        tl.store(parts + (r[:, None] * SPLITS + split) * D + d[None, :], y, real)
        tl.store(tops + r * SPLITS + split, top, r < R)
        tl.store(totals + r * SPLITS + split, total, r < R)
        tl.debug_barrier()
        counter = counters_at + pair
        if tl.atomic_add(counter, 1, sem="acq_rel") == SPLITS - 1:
            # one column for each value of the group's heads; no load below waits for another
            c = tl.arange(0, MERGED * D)
            real_c = c < R * D
            head = tl.where(real_c, c // D, 0)
            highest = tl.full([MERGED * D], float("-inf"), tl.float32)
            for s in tl.static_range(SPLITS):
                highest = tl.maximum(highest, tl.load(tops + head * SPLITS + s, cache_modifier=".cg"))
            y_c, total_c = tl.zeros([MERGED * D], tl.float32), tl.zeros([MERGED * D], tl.float32)
            for s in tl.static_range(SPLITS):
                weight = tl.exp2(tl.load(tops + head * SPLITS + s, cache_modifier=".cg") - highest)
                total_c += weight * tl.load(totals + head * SPLITS + s, cache_modifier=".cg")
                y_s = tl.load(parts + (head * SPLITS + s) * D + c % D, cache_modifier=".cg")
                y_c += weight * y_s
            tl.store(out + c, (y_c / total_c).to(kind), real_c)
            tl.store(counter, 0)


@triton.jit
def _attend(q, keys, values, inside, scale, top, total, y):
    """Take a block of positions into a running softmax."""
    scores = tl.dot(q, tl.trans(keys), input_precision="ieee") * scale
    scores = tl.where(inside[None, :], scores, float("-inf"))
    higher = tl.maximum(top, tl.max(scores, 1))
    kept = tl.exp2(top - higher)
    weights = tl.exp2(scores - higher[:, None])
    total = total * kept + tl.sum(weights, 1)
    y = tl.dot(weights.to(keys.dtype), values, y * kept[:, None], input_precision="ieee")
    return higher, total, y
