"""The kernel of `mamtra.ops.bias_act`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
PLAIN, SNAKE, LEAKY = 0, 1, 2


def bias_act(
    x: Tensor,
    bias: Tensor | None,
    others: tuple[Tensor, ...],
    scale: float,
    alpha: Tensor | None,
    slope: float | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """See `mamtra.ops.bias_act.bias_act`."""
    kind = PLAIN if alpha is None and slope is None else LEAKY if alpha is None else SNAKE
    summed = bias is not None or bool(others) or scale != 1
    total = torch.empty_like(x) if summed else x
    act = torch.empty_like(x) if kind != PLAIN else None
    first, second = (*others, x, x)[:2]
    count = x.numel()
    _bias_act_kernel[(triton.cdiv(count, BLOCK),)](
        x, x if bias is None else bias, first, second, x if alpha is None else alpha, x if mask is None else mask,
        total, x if act is None else act, count, scale, 0.0 if slope is None else slope,
        C=x.shape[2], BIAS=bias is not None, OTHERS=len(others), KIND=kind, MASKED=mask is not None, STORE=summed,
        BLOCK=BLOCK, num_warps=4,
    )  # fmt: skip
    return total, act


@triton.jit
def _bias_act_kernel(
    x, bias, first, second, alpha, mask, total, act, count, scale, slope,
    C: tl.constexpr, BIAS: tl.constexpr, OTHERS: tl.constexpr, KIND: tl.constexpr, MASKED: tl.constexpr,
    STORE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside, channel = at < count, (at % C).to(tl.int32)
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        value += tl.load(bias + channel).to(tl.float32)
    if OTHERS > 0:
        value += tl.load(first + at, mask=inside, other=0.0).to(tl.float32)
    if OTHERS > 1:
        value += tl.load(second + at, mask=inside, other=0.0).to(tl.float32)
    value *= scale
    if STORE:
        tl.store(total + at, value.to(total.dtype.element_ty), mask=inside)
    if KIND > 0:
        if KIND == 1:
            a = tl.load(alpha + channel).to(tl.float32)
            sine = tl.sin(value * a)
            value += sine * sine / (a + 1e-9)
        else:
            value = tl.where(value > 0, value, value * slope)
        if MASKED:
            keep = tl.load(mask + at // C, mask=inside, other=0)
            value = tl.where(keep != 0, value, 0.0)
        tl.store(act + at, value.to(act.dtype.element_ty), mask=inside)
