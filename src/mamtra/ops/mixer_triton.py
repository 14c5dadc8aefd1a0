"""All of the Mamba mixer between its two projections as one operator on Triton kernels, for training on GPUs.

It is a custom operator, opaque to torch.compile and safe in CUDA graphs. Its kernels read the parts of the joint projection in
place and write their gradients into one tensor, without splitting or concatenating.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.conv_triton import conv_silu, conv_silu_backward
from mamtra.ops.gated_norm_triton import gated_norm, gated_norm_backward
from mamtra.ops.ssd_triton import CHUNK, scan, scan_backward


def mixer_triton(
    projected: Tensor,
    taps: Tensor,
    bias: Tensor,
    dt_bias: Tensor,
    A_log: Tensor,
    D: Tensor,
    norm_weight: Tensor,
    *,
    head_dim: int,
    eps: float,
) -> Tensor:
    """Convolution with SiLU, state-space dual and gated norm, without an initial or final state.

    It is `mamtra.ops.conv.causal_conv1d_silu`, `mamtra.ops.ssd.ssd` with steps softplus(dt + dt_bias) and A = -exp(A_log),
    and `mamtra.ops.norms.gated_rms_norm`. Sums are float32 whatever the dtype.

    Args:
        projected: (batch, length, width) of ``[z | x | B | C | dt | anything]``: z and C as wide as all heads, x and B as all
            groups, dt one per head. Channels after dt are ignored.
        taps: (channels, K) of the convolution over x, B and C, at most four.
        bias: (channels,).
        dt_bias: (heads,).
        A_log: (heads,).
        D: (heads,).
        norm_weight: (heads * head_dim,).
        head_dim: 16, 32 or 64.
        eps: of the norm.

    Returns:
        (batch, length, heads * head_dim) in the dtype of ``projected``.
    """
    return _mixer(projected, taps, bias, dt_bias, A_log, D, norm_weight, head_dim, eps)[0]


@torch.library.custom_op("mamtra::mixer", mutates_args=())
def _mixer(
    projected: Tensor, taps: Tensor, bias: Tensor, dt_bias: Tensor, A_log: Tensor, D: Tensor, norm_weight: Tensor,
    head_dim: int, eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    made = _empty(projected, taps, bias, dt_bias, A_log, D, norm_weight, head_dim, eps)
    mixed, x, B, C, states, y, steps = made
    z, xbc, dt, _ = _parts(projected, taps, A_log, norm_weight)
    conv_silu(xbc, taps.contiguous(), bias, (x, B, C))
    x, B, C, y_heads = (_heads(t, head_dim) for t in (x, B, C, y))
    steps.copy_(F.softplus(dt.float() + dt_bias).transpose(1, 2))
    scan(x, steps, A_log, B, C, D, y_heads, states)
    gated_norm(y, z, norm_weight, mixed, eps, head_dim)
    return made


@_mixer.register_fake
def _empty(
    projected: Tensor, taps: Tensor, bias: Tensor, dt_bias: Tensor, A_log: Tensor, D: Tensor, norm_weight: Tensor,
    head_dim: int, eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The result, and what the backward pass reads: x, B and C after the convolution, states, the scan's result, its steps."""
    batch, length, _ = projected.shape
    inner, heads = norm_weight.shape[0], A_log.shape[0]
    shared = (taps.shape[0] - inner) // 2
    mixed, x, B, C, y = (projected.new_empty(batch, length, size) for size in (inner, shared, shared, inner, inner))
    states = projected.new_empty(batch, heads, -(-length // CHUNK), head_dim, head_dim)
    return mixed, x, B, C, states, y, projected.new_empty(batch, heads, length, dtype=torch.float32)


@torch.library.custom_op("mamtra::mixer_backward", mutates_args=())
def _mixer_backward(
    grad: Tensor, projected: Tensor, taps: Tensor, bias: Tensor, dt_bias: Tensor, A_log: Tensor, D: Tensor,
    norm_weight: Tensor, x: Tensor, B: Tensor, C: Tensor, states: Tensor, y: Tensor, steps: Tensor,
    head_dim: int, eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    in_projected = torch.empty(projected.shape, dtype=projected.dtype, device=projected.device)
    z, xbc, _, _ = _parts(projected, taps, A_log, norm_weight)
    in_z, in_xbc, in_dt, behind = _parts(in_projected, taps, A_log, norm_weight)
    behind.zero_()
    grad = grad if grad.stride(-1) == 1 else grad.contiguous()

    in_y = torch.empty_like(y)
    in_norm = gated_norm_backward(grad, y, z, norm_weight, in_y, in_z, eps, head_dim)

    x, B, C, in_y = (_heads(t, head_dim) for t in (x, B, C, in_y))
    groups = x.shape[2]
    in_x, in_B = (C.new_empty(*C.shape[:2], C.shape[2] // groups, groups, head_dim) for _ in range(2))
    in_C, in_steps = torch.empty_like(C), torch.empty_like(steps)
    in_dynamics = scan_backward(in_y, states, x, steps, A_log, B, C, D, in_x, in_steps, in_B, in_C).sum(0)
    in_steps *= -torch.expm1(-steps)  # the slope of the softplus, from its value
    in_dt.copy_(in_steps.transpose(1, 2))

    in_parts = in_x.flatten(3), in_B.flatten(3), in_C.flatten(2)
    in_conv = conv_silu_backward(in_parts, xbc, taps.contiguous(), bias, in_xbc)
    return in_projected, in_conv.sum(0), torch.cat((in_steps.sum((0, 2))[None], in_dynamics)), in_norm.sum(0)


@_mixer_backward.register_fake
def _empty_backward(
    grad: Tensor, projected: Tensor, taps: Tensor, bias: Tensor, dt_bias: Tensor, A_log: Tensor, D: Tensor,
    norm_weight: Tensor, x: Tensor, B: Tensor, C: Tensor, states: Tensor, y: Tensor, steps: Tensor,
    head_dim: int, eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of ``projected``, of the taps with the bias as last column, of dt_bias, A_log and D, and of the norm's weight."""
    wide = {"dtype": torch.float32, "device": projected.device}
    return (
        torch.empty(projected.shape, dtype=projected.dtype, device=projected.device),
        torch.empty(taps.shape[0], taps.shape[1] + 1, **wide),
        torch.empty(3, A_log.shape[0], **wide),
        torch.empty(norm_weight.shape, **wide),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.head_dim, ctx.eps = inputs
    ctx.save_for_backward(*tensors, *output[1:])
    ctx.set_materialize_grads(
        False
    )  # the other outputs have no gradients; zeros for them would cost as much as the outputs


def _differentiate(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    kept = ctx.saved_tensors
    in_projected, conv, dynamics, in_norm = _mixer_backward(grad, *kept, ctx.head_dim, ctx.eps)
    grads = conv[:, :-1], conv[:, -1], *dynamics.unbind(0), in_norm
    return in_projected, *(g.to(t.dtype) for g, t in zip(grads, kept[1:7], strict=True)), None, None


_mixer.register_autograd(_differentiate, setup_context=_keep)


def _parts(projected: Tensor, taps: Tensor, A_log: Tensor, norm_weight: Tensor) -> tuple[Tensor, ...]:
    """z, x with B and C, dt, and the ignored rest."""
    sizes = norm_weight.shape[0], taps.shape[0], A_log.shape[0]
    if projected.stride(-1) != 1:
        projected = projected.contiguous()
    return projected.split((*sizes, projected.shape[-1] - sum(sizes)), -1)


def _heads(t: Tensor, head_dim: int) -> Tensor:
    return t.unflatten(-1, (-1, head_dim))
