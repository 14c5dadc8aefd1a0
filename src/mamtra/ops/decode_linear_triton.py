"""`mamtra.ops.decode_linear` as Triton kernels: one for a single row, one on tensor cores for more.

Both read the weight once. The RMS norm costs no pass of its own: the sum of squares is collected while the product runs, and the
product is scaled at the end. Where there are few outputs the inputs are split over several programs; the last one to finish adds
their partial sums in a fixed order, so that results do not depend on timing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import Workspace, launch_options, prefetch, processors, wait_for_previous


class Tile(NamedTuple):
    """How a product is cut up.

    Attributes:
        rows: rows of ``x`` a program computes; 0 for the single-row kernel.
        outputs: outputs a program computes (pairs of them with a gate).
        inputs: inputs read at a time.
        split: programs that share the inputs of one output.
        warps: of a program.
        stages: loads in flight, in steps of ``inputs``.
    """

    rows: int
    outputs: int
    inputs: int
    split: int
    warps: int
    stages: int


def choose_tile(rows: int, outputs: int, inputs: int, gated: bool, normed: bool, device: torch.device) -> Tile:
    """A tile that fills the GPU, by shape; measured on an H100."""
    if rows == 1:
        block = 1024 if inputs > 512 else triton.next_power_of_2(inputs)
        return Tile(0, 8, block, 1, 4, 1)
    height = min(128, max(16, triton.next_power_of_2(rows)))
    width = 32 if height < 128 else 64
    if gated:
        width //= 2
    block = 64 if height == 128 else 128
    tiles = -(-outputs // width) * -(-rows // height)
    split = 1
    if not normed and not gated and inputs >= 2048:
        while split < 8 and tiles * split * 2 <= processors(device):
            split *= 2
    return Tile(height, width, block, split, 8 if height == 128 else 4, 4)


def partials_needed(rows: int, outputs: int) -> int:
    """float32 values of scratch memory that any tile of a product needs."""
    return 8 * rows * outputs


def decode_linear_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    norm_weight: Tensor | None,
    eps: float,
    gated: bool,
    residual: Tensor | None,
    workspace: Workspace | None,
    tile: Tile | None = None,
) -> Tensor:
    """See `mamtra.ops.decode_linear.decode_linear`; ``tile`` overrides the choice by shape."""
    rows, inputs = x.shape
    outputs = weight.shape[0] // (2 if gated else 1)
    tile = tile or choose_tile(rows, outputs, inputs, gated, norm_weight is not None, x.device)
    if norm_weight is not None and tile.split > 1:
        raise ValueError("a product behind a norm cannot be split over its inputs")
    out = x.new_empty(rows, outputs) if residual is None else residual
    steps = -(-inputs // (tile.inputs * tile.split))
    absent = weight
    scratch = (absent, absent) if tile.split == 1 else (workspace.partials, workspace.counters)
    flags = {
        "NORM": norm_weight is not None, "GATED": gated, "BIAS": bias is not None, "RESIDUAL": residual is not None,
        "BN": tile.outputs, "BK": tile.inputs, "STEPS": steps, "SPLIT": tile.split,
        "EVEN": inputs == steps * tile.inputs * tile.split, "num_warps": tile.warps, "num_stages": tile.stages,
    }  # fmt: skip
    args = (
        x, weight, absent if bias is None else bias, absent if norm_weight is None else norm_weight, out, *scratch,
        rows, outputs, inputs, x.stride(0), out.stride(0), eps,
    )  # fmt: skip
    columns = triton.cdiv(outputs, tile.outputs)
    if tile.rows == 0:
        _row_kernel[(columns, tile.split, rows)](*args, **flags, **launch_options(x.device))
    else:
        grid = columns, tile.split, triton.cdiv(rows, tile.rows)
        _rows_kernel[grid](*args, BM=tile.rows, **flags, **launch_options(x.device))
    return out


@triton.jit
def _row_kernel(
    x_at, w_at, bias_at, norm_at, out_at, parts_at, counters_at, rows, outputs, inputs, x_row, out_row, eps,
    NORM: tl.constexpr, GATED: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr, STEPS: tl.constexpr, SPLIT: tl.constexpr, EVEN: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    m = tl.program_id(2)
    k = tl.program_id(1) * (STEPS * BK) + tl.arange(0, BK)
    inside = n < outputs
    place = w_at + n[:, None].to(tl.int64) * inputs + k[None, :]
    other = outputs.to(tl.int64) * inputs
    valid = inside[:, None] & (k < inputs)[None, :]
    w = tl.load(place, valid, 0.0)
    v = w
    if GATED:
        v = tl.load(place + other, valid, 0.0)
    if PDL and STEPS > 1:
        LINE: tl.constexpr = 128 // (w_at.dtype.element_ty.primitive_bitwidth // 8)
        row = w_at + tl.minimum(n, outputs - 1)[:, None].to(tl.int64) * inputs
        for step in tl.static_range(1, STEPS):
            line = tl.minimum((tl.program_id(1) * STEPS + step) * BK + tl.arange(0, BK // LINE) * LINE, inputs - 1)
            prefetch(row + line[None, :], PDL)
    wait_for_previous(PDL)
    total = tl.zeros([BN, BK], tl.float32)
    total_up = total
    squares = tl.zeros([BK], tl.float32)
    for step in tl.static_range(STEPS):
        x = tl.load(x_at + m * x_row + k, k < inputs, 0.0).to(tl.float32)
        if NORM:
            squares += x * x
            x *= tl.load(norm_at + k, k < inputs, 0.0).to(tl.float32)
        total += w.to(tl.float32) * x[None, :]
        if GATED:
            total_up += v.to(tl.float32) * x[None, :]
        k += BK
        if step + 1 < STEPS:
            valid = inside[:, None] & (k < inputs)[None, :]
            w = tl.load(place + (step + 1) * BK, valid, 0.0)
            if GATED:
                v = tl.load(place + other + (step + 1) * BK, valid, 0.0)
    y = tl.sum(total, 1)
    up = y
    if GATED:
        up = tl.sum(total_up, 1)
    if NORM:
        scale = tl.rsqrt(tl.sum(squares, 0) / inputs + eps)
        y *= scale
        up *= scale
    if SPLIT > 1:
        tl.store(parts_at + (tl.program_id(1) * rows + m) * outputs + n, y, inside)
        tl.debug_barrier()
        counter = counters_at + m * tl.num_programs(0) + tl.program_id(0)
        if tl.atomic_add(counter, 1, sem="acq_rel") == SPLIT - 1:
            y = tl.zeros([BN], tl.float32)
            for part in tl.static_range(SPLIT):
                y += tl.load(parts_at + (part * rows + m) * outputs + n, inside, 0.0, cache_modifier=".cg")
            _finish(y, up, bias_at + n, out_at + m * out_row + n, inside, inside, GATED, BIAS, RESIDUAL)
            tl.store(counter, 0)
    else:
        _finish(y, up, bias_at + n, out_at + m * out_row + n, inside, inside, GATED, BIAS, RESIDUAL)


@triton.jit
def _rows_kernel(
    x_at, w_at, bias_at, norm_at, out_at, parts_at, counters_at, rows, outputs, inputs, x_row, out_row, eps,
    BM: tl.constexpr, NORM: tl.constexpr, GATED: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr, STEPS: tl.constexpr, SPLIT: tl.constexpr, EVEN: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    m = tl.program_id(2) * BM + tl.arange(0, BM)
    begin = tl.program_id(1) * (STEPS * BK)
    k = begin + tl.arange(0, BK)
    inside_n, inside_m = n < outputs, m < rows
    kind = w_at.dtype.element_ty
    row = w_at + tl.minimum(n, outputs - 1)[None, :].to(tl.int64) * inputs  # of outputs that are there
    other = outputs.to(tl.int64) * inputs
    if PDL:
        LINE: tl.constexpr = 128 // (kind.primitive_bitwidth // 8)
        LINES: tl.constexpr = BK // LINE
        for step in range(STEPS):
            line = tl.minimum(begin + step * BK + tl.arange(0, LINES) * LINE, inputs - 1)
            prefetch(row + line[:, None], PDL)
            if GATED:
                prefetch(row + other + line[:, None], PDL)
    wait_for_previous(PDL)
    total = tl.zeros([BM, BN], tl.float32)
    total_up = total
    squares = tl.zeros([BM], tl.float32)
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
        if NORM:
            wide = x.to(tl.float32)
            squares += tl.sum(wide * wide, 1)
            if EVEN:
                norm = tl.load(norm_at + k + step * BK)
            else:
                norm = tl.load(norm_at + k + step * BK, valid, 0.0)
            x = (wide * norm.to(tl.float32)[None, :]).to(kind)
        total = tl.dot(x, w, total, input_precision="ieee")
        if GATED:
            if EVEN:
                v = tl.load(w_place + other + step * BK)
            else:
                v = tl.load(w_place + other + step * BK, valid[:, None], 0.0)
            total_up = tl.dot(x, v, total_up, input_precision="ieee")
    if NORM:
        scale = tl.rsqrt(squares / inputs + eps)[:, None]
        total *= scale
        total_up *= scale
    inside = inside_m[:, None] & inside_n[None, :]
    out = out_at + m[:, None] * out_row + n[None, :]
    if SPLIT > 1:
        place = parts_at + m[:, None] * outputs + n[None, :]
        size = rows * outputs
        tl.store(place + tl.program_id(1) * size, total, inside)
        tl.debug_barrier()
        counter = counters_at + tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)
        if tl.atomic_add(counter, 1, sem="acq_rel") == SPLIT - 1:
            total = tl.zeros([BM, BN], tl.float32)
            for part in tl.static_range(SPLIT):
                total += tl.load(place + part * size, inside, 0.0, cache_modifier=".cg")
            _finish(total, total_up, bias_at + n[None, :], out, inside, inside_n[None, :], GATED, BIAS, RESIDUAL)
            tl.store(counter, 0)
    else:
        _finish(total, total_up, bias_at + n[None, :], out, inside, inside_n[None, :], GATED, BIAS, RESIDUAL)


@triton.jit
def _finish(
    y, up, bias, out, inside, inside_bias, GATED: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr
):  # fmt: skip
    """What follows the product, and the store."""
    if GATED:
        y = y / (1 + tl.exp(-y)) * up
    if BIAS:
        y += tl.load(bias, inside_bias, 0.0).to(tl.float32)
    if RESIDUAL:
        y += tl.load(out, inside, 0.0).to(tl.float32)
    tl.store(out, y.to(out.dtype.element_ty), inside)
