"""The kernel of `mamtra.ops.linear_act` for few rows."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import launch_options, prefetch, wait_for_previous


def linear_act(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    """See `mamtra.ops.linear_act.linear_act`; x is (M, K), contiguous."""
    rows, inputs, outputs = len(x), x.shape[1], len(weight)
    out = x.new_empty(rows, outputs)
    options = tile(rows, inputs, outputs)
    _linear_act_kernel[(triton.cdiv(rows, options["M"]), triton.cdiv(outputs, options["BLOCK"]))](
        x, weight, x if bias is None else bias, out, rows, C=inputs, N=outputs,
        LINES=triton.next_power_of_2(triton.cdiv(inputs, 64)), BIAS=bias is not None, GELU=gelu, num_warps=4, **options,
        **launch_options(x.device),
    )  # fmt: skip
    return out


def tile(rows: int, inputs: int, outputs: int) -> dict[str, int]:
    """Sizes of a program: few rows and columns, so that many share the work, and long sums in flight at once."""
    depth = 128 if inputs <= 256 else 256
    depth = min(depth, max(16, triton.next_power_of_2(inputs)))
    stages = 3 if inputs <= 256 else min(4, triton.cdiv(inputs, depth))
    return {"M": 16 if rows <= 256 else 32, "BLOCK": 32 if outputs <= 512 else 64, "K": depth, "num_stages": stages}


@triton.jit(do_not_specialize=["rows"])
def _linear_act_kernel(
    x, weight, bias, out, rows, C: tl.constexpr, N: tl.constexpr, M: tl.constexpr, BLOCK: tl.constexpr, K: tl.constexpr,
    LINES: tl.constexpr, BIAS: tl.constexpr, GELU: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    row, n, k = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, K)
    blocks: tl.constexpr = (C + K - 1) // K
    acc = tl.zeros((M, BLOCK), dtype=tl.float32)
    if BIAS:
        acc += tl.load(bias + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    if PDL:
        # A whole step's weights do not fit into the L2 cache; these arrive while the kernel before still runs.
        line = tl.minimum(tl.arange(0, LINES) * 64, C - 1)
        prefetch(weight + tl.minimum(n, N - 1)[:, None] * C + line[None, :], PDL)
    wait_for_previous(PDL)
    for step in range(blocks):
        channel = step * K + k
        taken = tl.load(
            x + row[:, None] * C + channel[None, :], mask=(row[:, None] < rows) & (channel[None, :] < C), other=0.0
        )
        held = tl.load(
            weight + n[None, :] * C + channel[:, None], mask=(channel[:, None] < C) & (n[None, :] < N), other=0.0
        )
        acc = tl.dot(taken, held, acc, input_precision="ieee")
    if GELU:
        acc = acc * 0.5 * (1.0 + tl.erf(acc * 0.7071067811865476))
    tl.store(
        out + row[:, None] * N + n[None, :], acc.to(out.dtype.element_ty), mask=(row[:, None] < rows) & (n[None, :] < N)
    )
