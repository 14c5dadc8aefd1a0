"""Causal depthwise convolution over time, whole sequences and single steps."""

from __future__ import annotations

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

    It is written as K shifted products: the compiler fuses them into one pass, and there is no transposition to
    channels first.

    Args:
        x: (B, L, C).
        weight: (C, K); the last tap meets the present input.
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
    """One output of `causal_conv1d`; the state is moved on in place.

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
    """A (channels, taps) kernel that hands its input through: one at the last tap, zero before."""
    return F.pad(torch.ones(channels, 1), (taps - 1, 0))
