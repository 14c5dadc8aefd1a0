"""Causal depthwise convolution over time, whole sequences and single steps."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``y[t] = bias + sum_k weight[:, k] * x[t - (K - 1) + k]`` for each channel.

    It is written as K shifted products: the compiler fuses them into one pass without a transposition
    to channels first.

    Args:
        x: (B, L, C).
        weight: (C, K); the last tap is that of the current input.
        bias: (C,).
        initial_state: (B, K - 1, C), the inputs before ``x``, oldest first; zeros when absent.
        lengths: (B,) int64, valid inputs of each right-padded row; only the returned state depends on it.

    Returns:
        ``y`` (B, L, C) in the common dtype of ``x`` and ``weight``, and the state after the last valid input (B, K - 1,
        C).
    """
    length, taps = x.shape[1], weight.shape[1]
    past = x.new_zeros(x.shape[0], taps - 1, x.shape[2]) if initial_state is None else initial_state.to(x.dtype)
    padded = torch.cat((past, x), 1)
    y = padded[:, :length] * weight[:, 0]
    for k in range(1, taps):
        y = y + padded[:, k : k + length] * weight[:, k]
    if bias is not None:
        y = y + bias
    if lengths is None:
        return y, padded[:, length:]
    index = lengths[:, None] + torch.arange(taps - 1, device=x.device)
    return y, padded.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def causal_conv1d_step(x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One output of `causal_conv1d`; the state is updated in place.

    Args:
        x: (B, C).
        state: (B, K - 1, C), oldest first; overwritten.
        weight: (C, K).
        bias: (C,).

    Returns:
        (B, C).
    """
    window = torch.cat((state, x.unsqueeze(1).to(state.dtype)), 1)
    state.copy_(window.narrow(1, 1, state.shape[1]))
    y = (window * weight.t()).sum(1)
    return y if bias is None else y + bias


def identity_conv_weight(channels: int, taps: int) -> Tensor:
    """A (channels, taps) kernel that returns its input: one at the last tap, zero before."""
    return F.pad(torch.ones(channels, 1), (taps - 1, 0))


def causal_conv1d_silu(x: Tensor, weight: Tensor, bias: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """``silu(causal_conv1d(x, weight, bias))`` of whole sequences, split into parts, for training.

    Only ``x`` is kept for the backward pass; autograd would keep float32 intermediates twice as large as a bfloat16 ``x``.

    Args:
        x: (B, L, C).
        weight: (C, K).
        bias: (C,).
        sizes: channels of each part, C together.

    Returns:
        (B, L, size) for each size in the dtype of ``x``; sums and the SiLU are at least float32.
    """
    return _ConvSilu.apply(x, weight, bias).split(sizes, -1)


class _ConvSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return F.silu(_taps(x, weight, bias)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, bias = ctx.saved_tensors
        length, taps = x.shape[1], weight.shape[1]
        inner = _taps(x, weight, bias)
        sigmoid = torch.sigmoid(inner)
        # rounded to the type of x, since it is read once for each tap
        inner_grad = (grad * sigmoid * (1 + inner * (1 - sigmoid))).to(x.dtype)
        later = F.pad(inner_grad, (0, 0, 0, taps - 1)).to(inner.dtype)
        x_grad = sum(later[:, taps - 1 - k : taps - 1 - k + length] * weight[:, k] for k in range(taps))
        earlier, wide = F.pad(x, (0, 0, taps - 1, 0)), inner_grad.to(inner.dtype)
        weight_grad = torch.stack([(wide * earlier[:, k : k + length]).sum((0, 1)) for k in range(taps)], 1)
        return x_grad.to(x.dtype), weight_grad.to(weight.dtype), wide.sum((0, 1)).to(bias.dtype)


def _taps(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution without an initial state, in at least float32."""
    taps = weight.shape[1]
    padded = F.pad(x, (0, 0, taps - 1, 0)).to(torch.promote_types(x.dtype, torch.float32))
    return sum(padded[:, k : k + x.shape[1]] * weight[:, k] for k in range(taps)) + bias
