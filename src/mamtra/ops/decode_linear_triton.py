"""`mamtra.ops.decode_linear` as Triton kernels: one for a single row, one on tensor cores for more.

Both read the weight once. An RMS norm costs no pass of its own: the kernel that makes a vector writes it times the norm's weight
and sums up its squares, and the kernel that reads it scales its product. Where there are few outputs the inputs are split over
several programs; the last one to finish adds their partial sums in a fixed order, so that results do not depend on timing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import Workspace, launch_options, prefetch, wait_for_previous
from mamtra.ops.decode_types import Normed, ScaledWeight, values_of


class Tile(NamedTuple):
    """How a product is cut up.

    Attributes:
        rows: rows of ``x`` a program computes; 0 for the single-row kernel.
        outputs: outputs a program computes (pairs of them with a gate).
        inputs: inputs read at a time.
        split: programs that share the inputs of one output.
        warps: of a program.
        stages: loads in flight, in steps of ``inputs``.
        turned: the transposed product is computed, weights on the left: tensor cores of Hopper take 64 rows at a time.
    """

    rows: int
    outputs: int
    inputs: int
    split: int
    warps: int
    stages: int
    turned: bool = False


def choose_tile(
    rows: int, outputs: int, inputs: int, gated: bool, scaled: bool = False, dtype: torch.dtype = torch.bfloat16
) -> Tile:
    """A tile by shape, the fastest of some dozens on an H100 at the sizes of CosyVoice 2.

    Weights in eight bits (``scaled``) are widened in registers, from where only the right side of a product is fast. Inputs in
    float32 are read in smaller steps: shared memory holds no more of them.
    """
    tile = _tile(rows, outputs, inputs, gated, scaled)
    return tile._replace(inputs=tile.inputs // 4) if tile.rows and dtype.itemsize > 2 else tile


def _tile(rows: int, outputs: int, inputs: int, gated: bool, scaled: bool) -> Tile:
    long, wide = inputs >= 2048, outputs >= 1500
    if rows == 1:
        block = min(1024, triton.next_power_of_2(inputs))
        if gated:
            return Tile(0, 2, block, 1, 1, 1)
        return Tile(0, 8, block, 1, 4 if outputs < 4000 else 1, 1) if wide and not long else Tile(0, 2, block, 1, 4, 1)
    height = max(16, triton.next_power_of_2(rows))
    if height <= 32:
        if long:
            return Tile(height, 64 if scaled else 32, 128, 1 if gated else 8, 4, 4)
        if gated:
            return Tile(height, 64, 128, 1, 4, 4) if scaled else Tile(height, 64, 128, 1, 4, 3, turned=True)
        if wide:
            return Tile(height, 32, 128, 1, 4, 4) if scaled else Tile(height, 64, 128, 1, 4, 4, turned=True)
        return Tile(height, 16, 128, 1, 4, 7)
    if gated:
        return Tile(min(height, 128), 64, 128, 1, 8, 3) if height >= 128 else Tile(64, 32, 128, 1, 4, 3)
    if long:
        return Tile(64, 64, 128, 4, 4, 4)
    if outputs >= 4000:
        return Tile(64, 128, 64, 1, 4, 4)
    return Tile(64, 64, 64, 1, 4, 4) if 1000 < outputs < 1500 else Tile(64, 32, 128, 1, 4, 4)


def partials_needed(rows: int, outputs: int) -> int:
    """float32 values of scratch memory that any tile of a product needs."""
    return 8 * rows * outputs


def decode_linear_triton(
    given: Normed,
    weight: Tensor | ScaledWeight,
    bias: Tensor | None,
    eps: float,
    gated: bool,
    workspace: Workspace | None,
    tile: Tile | None = None,
) -> Tensor:
    """See `mamtra.ops.decode_linear.decode_linear`; ``tile`` overrides the choice by shape."""
    rows, inputs = given.x.shape
    outputs = values_of(weight).shape[0] // (2 if gated else 1)
    tile = tile or choose_tile(rows, outputs, inputs, gated, isinstance(weight, ScaledWeight), given.x.dtype)
    out = given.x.new_empty(rows, outputs)
    _launch(tile, given, weight, bias, out, None, None, workspace, eps, gated)
    return out


def decode_linear_add_triton(
    x: Tensor,
    weight: Tensor | ScaledWeight,
    residual: Tensor,
    norm_weight: Tensor,
    workspace: Workspace | None,
    tile: Tile | None = None,
) -> Normed:
    """See `mamtra.ops.decode_linear.decode_linear_add`; ``tile`` overrides the choice by shape."""
    rows, outputs = residual.shape
    tile = tile or choose_tile(rows, outputs, x.shape[1], False, isinstance(weight, ScaledWeight), x.dtype)
    parts = triton.cdiv(outputs, tile.outputs)
    after = Normed(torch.empty_like(residual), torch.empty(rows, parts, dtype=torch.float32, device=x.device))
    _launch(tile, Normed(x, None), weight, None, residual, after, norm_weight, workspace, 0.0, False)
    return after


def _launch(
    tile: Tile, given: Normed, weight: Tensor | ScaledWeight, bias: Tensor | None, out: Tensor, after: Normed | None,
    norm_weight: Tensor | None, workspace: Workspace | None, eps: float, gated: bool,
) -> None:  # fmt: skip
    rows, inputs = given.x.shape
    outputs = out.shape[1]
    if gated and tile.split > 1:
        raise ValueError("a gated product cannot be split over its inputs")
    steps = triton.cdiv(inputs, tile.inputs * tile.split)
    scaled = isinstance(weight, ScaledWeight)
    weight, scale = weight if scaled else (weight, weight)
    absent = weight
    scratch = (absent, absent) if tile.split == 1 else (workspace.partials, workspace.counters)
    normed = given.squares is not None
    parts = given.squares.shape[1] if normed else 1
    following = (absent, absent, absent) if after is None else (norm_weight, after.x, after.squares)
    columns = triton.cdiv(outputs, tile.outputs)
    args = (
        given.x, weight, scale, absent if bias is None else bias, given.squares if normed else absent, out, *following, *scratch,
        rows, outputs, inputs, given.x.stride(0), out.stride(0), parts, eps,
    )  # fmt: skip
    flags = {
        "SCALED": scaled,
        "NORMED": normed, "GATED": gated, "BIAS": bias is not None, "ADD": after is not None,
        "PARTS": triton.next_power_of_2(parts), "BN": tile.outputs, "BK": tile.inputs, "STEPS": steps, "SPLIT": tile.split,
        "num_warps": tile.warps, "num_stages": tile.stages, **launch_options(weight.device),
    }  # fmt: skip
    if tile.rows == 0:
        _row_kernel[(columns, tile.split, rows)](*args, **flags)
    else:
        even = inputs == steps * tile.inputs * tile.split
        grid = columns, tile.split, triton.cdiv(rows, tile.rows)
        _rows_kernel[grid](*args, BM=tile.rows, EVEN=even, TURNED=tile.turned, **flags)


@triton.jit
def _row_kernel(
    x_at, w_at, w_scale_at, bias_at, squares_at, out_at, norm_at, scaled_at, sums_at, parts_at, counters_at,
    rows, outputs, inputs, x_row, out_row, parts, eps,
    SCALED: tl.constexpr, NORMED: tl.constexpr, GATED: tl.constexpr, BIAS: tl.constexpr,
    ADD: tl.constexpr, PARTS: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, STEPS: tl.constexpr,
    SPLIT: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    column, m = tl.program_id(0), tl.program_id(2)
    n = column * BN + tl.arange(0, BN)
    k = tl.program_id(1) * (STEPS * BK) + tl.arange(0, BK)
    inside = n < outputs
    place = w_at + n[:, None].to(tl.int64) * inputs + k[None, :]
    # all weights are on their way before the input is there
    ws = ()
    vs = ()
    for step in tl.static_range(STEPS):
        valid = inside[:, None] & (k + step * BK < inputs)[None, :]
        ws = ws + (tl.load(place + step * BK, valid, 0.0),)  # noqa: RUF005 - Triton does not unpack
        if GATED:
            vs = vs + (tl.load(place + outputs.to(tl.int64) * inputs + step * BK, valid, 0.0),)  # noqa: RUF005
    bias = tl.zeros([BN], tl.float32)
    if BIAS:
        bias = tl.load(bias_at + n, inside, 0.0).to(tl.float32)
    w_scale, v_scale = 1.0, 1.0
    if SCALED:
        w_scale = tl.load(w_scale_at + n, inside, 0.0)
        if GATED:
            v_scale = tl.load(w_scale_at + outputs + n, inside, 0.0)
    norm = bias
    if ADD:
        norm = tl.load(norm_at + n, inside, 0.0).to(tl.float32)
    wait_for_previous(PDL)
    scale = 1.0
    if NORMED:
        part = tl.arange(0, PARTS)
        scale = tl.rsqrt(tl.sum(tl.load(squares_at + m * parts + part, part < parts, 0.0), 0) / inputs + eps)
    if ADD and SPLIT == 1:
        bias = tl.load(out_at + m * out_row + n, inside, 0.0).to(tl.float32)
    total = tl.zeros([BN, BK], tl.float32)
    total_up = total
    for step in tl.static_range(STEPS):
        x = tl.load(x_at + m * x_row + k + step * BK, k + step * BK < inputs, 0.0).to(tl.float32)
        total += ws[step].to(tl.float32) * x[None, :]
        if GATED:
            total_up += vs[step].to(tl.float32) * x[None, :]
    y = tl.sum(total, 1) * scale * w_scale
    if GATED:
        y = y / (1 + tl.exp(-y)) * (tl.sum(total_up, 1) * scale * v_scale)
    last = True
    if SPLIT > 1:
        tl.store(parts_at + (tl.program_id(1) * rows + m) * outputs + n, y, inside)
        tl.debug_barrier()
        counter = counters_at + m * tl.num_programs(0) + column
        last = tl.atomic_add(counter, 1, sem="acq_rel") == SPLIT - 1
        if last:
            y = tl.zeros([BN], tl.float32)
            for split in tl.static_range(SPLIT):
                y += tl.load(parts_at + (split * rows + m) * outputs + n, inside, 0.0, cache_modifier=".cg")
            if ADD:
                y += tl.load(out_at + m * out_row + n, inside, 0.0).to(tl.float32)
            tl.store(counter, 0)
    if last:
        y += bias
        tl.store(out_at + m * out_row + n, y.to(out_at.dtype.element_ty), inside)
        if ADD:
            tl.store(scaled_at + m * outputs + n, (y * norm).to(out_at.dtype.element_ty), inside)
            tl.store(sums_at + m * tl.num_programs(0) + column, tl.sum(tl.where(inside, y * y, 0.0), 0))


@triton.jit
def _rows_kernel(
    x_at, w_at, w_scale_at, bias_at, squares_at, out_at, norm_at, scaled_at, sums_at, parts_at, counters_at,
    rows, outputs, inputs, x_row, out_row, parts, eps,
    BM: tl.constexpr, EVEN: tl.constexpr, TURNED: tl.constexpr, SCALED: tl.constexpr,
    NORMED: tl.constexpr, GATED: tl.constexpr, BIAS: tl.constexpr, ADD: tl.constexpr, PARTS: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr, STEPS: tl.constexpr, SPLIT: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0)
    n = column * BN + tl.arange(0, BN)
    m = tl.program_id(2) * BM + tl.arange(0, BM)
    begin = tl.program_id(1) * (STEPS * BK)
    k = begin + tl.arange(0, BK)
    inside_n, inside_m = n < outputs, m < rows
    row = w_at + tl.minimum(n, outputs - 1)[None, :].to(tl.int64) * inputs  # of outputs that are there
    other = outputs.to(tl.int64) * inputs
    if PDL:
        LINE: tl.constexpr = 128 // (w_at.dtype.element_ty.primitive_bitwidth // 8)
        LINES: tl.constexpr = (BK + LINE - 1) // LINE
        for step in range(STEPS):
            line = tl.minimum(begin + step * BK + tl.arange(0, LINES) * LINE, inputs - 1)
            prefetch(row + line[:, None], PDL)
            if GATED:
                prefetch(row + other + line[:, None], PDL)
    wait_for_previous(PDL)
    if TURNED:  # noqa: SIM108
        total = tl.zeros([BN, BM], tl.float32)
    else:
        total = tl.zeros([BM, BN], tl.float32)
    total_up = total
    x_place = x_at + m[:, None] * x_row + k[None, :]
    w_place = row + k[:, None]
    for step in range(STEPS):
        if EVEN:
            x = tl.load(x_place + step * BK, inside_m[:, None], 0.0)
            w = tl.load(w_place + step * BK)
        else:
            valid = k + step * BK < inputs
            x = tl.load(x_place + step * BK, inside_m[:, None] & valid[None, :], 0.0)
            w = tl.load(w_place + step * BK, valid[:, None], 0.0)
        total = _dot(x, w, total, TURNED)
        if GATED:
            if EVEN:  # noqa: SIM108 - in Triton only the branch that is taken is compiled
                v = tl.load(w_place + other + step * BK)
            else:
                v = tl.load(w_place + other + step * BK, valid[:, None], 0.0)
            total_up = _dot(x, v, total_up, TURNED)
    if TURNED:
        total, total_up = tl.trans(total), tl.trans(total_up)
    if NORMED:
        part = tl.arange(0, PARTS)
        inside_parts = inside_m[:, None] & (part < parts)[None, :]
        squares = tl.sum(tl.load(squares_at + m[:, None] * parts + part[None, :], inside_parts, 0.0), 1)
        scale = tl.rsqrt(squares / inputs + eps)[:, None]
        total *= scale
        total_up *= scale
    if SCALED:
        total *= tl.load(w_scale_at + n, inside_n, 0.0)[None, :]
        if GATED:
            total_up *= tl.load(w_scale_at + outputs + n, inside_n, 0.0)[None, :]
    inside = inside_m[:, None] & inside_n[None, :]
    last = True
    if SPLIT > 1:
        place = parts_at + m[:, None] * outputs + n[None, :]
        size = rows * outputs
        tl.store(place + tl.program_id(1) * size, total, inside)
        tl.debug_barrier()
        counter = counters_at + tl.program_id(2) * tl.num_programs(0) + column
        last = tl.atomic_add(counter, 1, sem="acq_rel") == SPLIT - 1
        if last:
            total = tl.zeros([BM, BN], tl.float32)
            for split in tl.static_range(SPLIT):
                total += tl.load(place + split * size, inside, 0.0, cache_modifier=".cg")
            tl.store(counter, 0)
    if last:
        out = out_at + m[:, None] * out_row + n[None, :]
        if GATED:
            total = total / (1 + tl.exp(-total)) * total_up
        if BIAS:
            total += tl.load(bias_at + n, inside_n, 0.0).to(tl.float32)[None, :]
        if ADD:
            total += tl.load(out, inside, 0.0).to(tl.float32)
            norm = tl.load(norm_at + n, inside_n, 0.0).to(tl.float32)
            scaled = (total * norm[None, :]).to(out_at.dtype.element_ty)
            tl.store(scaled_at + m[:, None] * outputs + n[None, :], scaled, inside)
            squares = tl.sum(tl.where(inside, total * total, 0.0), 1)
            tl.store(sums_at + m * tl.num_programs(0) + column, squares, inside_m)
        tl.store(out, total.to(out_at.dtype.element_ty), inside)


@triton.jit
def _dot(x, w, total, TURNED: tl.constexpr):
    """Add ``x @ w``, or its transpose, to ``total``."""
    w = w.to(x.dtype)
    if TURNED:
        total = tl.dot(tl.trans(w), tl.trans(x), total, input_precision="ieee")
    else:
        total = tl.dot(x, w, total, input_precision="ieee")
    return total
