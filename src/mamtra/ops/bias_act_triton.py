"""The kernel of `mamtra.ops.bias_act`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import launch_options, wait_for_previous
from mamtra.ops.snake_triton import snake_of

BLOCK = 1024
PLAIN, SNAKE, LEAKY = 0, 1, 2


def bias_act(
    x: Tensor,
    others: tuple[Tensor, ...],
    scale: float,
    alpha: Tensor | None,
    slope: float | None,
    mask: Tensor | None,
    keep: bool,
) -> tuple[Tensor | None, Tensor]:
    """See `mamtra.ops.bias_act.bias_act`."""
    count, group = x.numel(), 1 if alpha is None else len(alpha)
    total = torch.empty_like(x) if keep else None
    act = x.new_empty(group, *x.shape)
    first, second = (*others, x, x)[:2]
    _bias_act_kernel[(triton.cdiv(count, BLOCK),)](
        x, first, second, x if alpha is None else alpha, x if mask is None else mask, x if total is None else total, act,
        count, scale, 0.0 if slope is None else slope,
        C=x.shape[2], OTHERS=len(others), G=group, KIND=LEAKY if alpha is None else SNAKE, MASKED=mask is not None,
        STORE=keep, LIMIT=torch.finfo(torch.float16).max, BLOCK=BLOCK, num_warps=4, **launch_options(x.device),
    )  # fmt: skip
    return total, act[0] if alpha is None else act


@triton.jit
def fitting(value, like, LIMIT: tl.constexpr):
    """A value as what a pointer takes; float16 takes the largest number that it has in place of one that is larger."""
    if like.dtype.element_ty == tl.float16:
        value = tl.clamp(value, -LIMIT, LIMIT, propagate_nan=tl.PropagateNan.ALL)
    return value.to(like.dtype.element_ty)


@triton.jit
def _bias_act_kernel(
    x, first, second, alpha, mask, total, act, count, scale, slope,
    C: tl.constexpr, OTHERS: tl.constexpr, G: tl.constexpr, KIND: tl.constexpr, MASKED: tl.constexpr,
    STORE: tl.constexpr, LIMIT: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside, channel = at < count, (at % C).to(tl.int32)
    wait_for_previous(PDL)
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if OTHERS > 0:
        value += tl.load(first + at, mask=inside, other=0.0).to(tl.float32)
    if OTHERS > 1:
        value += tl.load(second + at, mask=inside, other=0.0).to(tl.float32)
    value *= scale
    if STORE:
        tl.store(total + at, fitting(value, total, LIMIT), mask=inside)
    exists = inside
    if MASKED:
        exists = tl.load(mask + at // C, mask=inside, other=0) != 0
    for g in tl.static_range(G):
        if KIND == 1:
            made = snake_of(value, tl.load(alpha + g * C + channel).to(tl.float32))
        else:
            made = tl.where(value > 0, value, value * slope)
        made = tl.where(exists, made, 0.0)
        tl.store(act + g * count + at, fitting(made, act, LIMIT), mask=inside)
