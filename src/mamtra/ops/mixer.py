"""The Mamba-2 mixer between its two projections: convolution, state-space dual, gated norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.conv import causal_conv1d, causal_conv1d_silu
from mamtra.ops.norms import gated_rms_norm
from mamtra.ops.ssd import repeat_heads, ssd


def mamba_mixer(
    projected: Tensor,
    taps: Tensor,
    bias: Tensor,
    dt_bias: Tensor,
    A_log: Tensor,
    D: Tensor,
    norm_weight: Tensor | None,
    *,
    head_dim: int,
    eps: float,
    discrete: bool = False,
    chunk_size: int = 64,
    state: tuple[Tensor, Tensor] | None = None,
    lengths: Tensor | None = None,
    valid: Tensor | None = None,
    use_triton: bool = False,
) -> Tensor:
    """Mix along the length; all heads on their own.

    Args:
        projected: (B, L, width) of ``[z | x | B | C | dt | anything]``: z and C as wide as all heads, x and B as all groups,
            dt one per head. Channels after dt are ignored.
        taps: (channels, K) of the causal convolution over x, B and C.
        bias: (channels,) of the convolution.
        dt_bias: (heads,).
        A_log: (heads,).
        D: (heads,).
        norm_weight: (heads * head_dim,) of the gated norm; None gates without normalising.
        head_dim: channels of a head, and size of its state.
        eps: of the norm.
        discrete: the input is not scaled by the step and there is no SiLU after the convolution (arXiv 2408.10189).
        chunk_size: inputs per chunk of the scan.
        state: the last inputs of the convolution (B, K - 1, channels) and the states (B, heads, head_dim, head_dim) float32;
            both are updated in place. None for whole sequences.
        lengths: (B,) int64, valid inputs of right-padded rows; only the state depends on it.
        valid: (B, L) bool, False in the padding of left-padded rows.
        use_triton: train with one operator of Triton kernels (CUDA devices only) wherever gradients are enabled; with a state,
            the discrete form or left-padded rows the plain operations are used all the same.

    Returns:
        (B, L, heads * head_dim).
    """
    training = state is None and torch.is_grad_enabled()
    if use_triton and training and not discrete and valid is None:
        from mamtra.ops.mixer_triton import mixer_triton  # Triton is installed with CUDA builds only

        return mixer_triton(projected, taps, bias, dt_bias, A_log, D, norm_weight, head_dim=head_dim, eps=eps)
    heads, channels = A_log.shape[0], taps.shape[0]
    inner = heads * head_dim
    shared = (channels - inner) // 2
    z, xbc, dt = projected[..., : inner + channels + heads].split((inner, channels, heads), -1)
    padding = None if valid is None else ~valid[..., None]
    if padding is not None:
        xbc = xbc.masked_fill(
            padding, 0
        )  # so that a padded row sees zeros before its first input, as any other row does
    if training and not discrete:
        parts = causal_conv1d_silu(xbc, taps, bias, (shared, shared, inner))
    else:
        conv, conv_state = causal_conv1d(xbc, taps, bias, None if state is None else state[0], lengths)
        parts = (conv if discrete else F.silu(conv)).split((shared, shared, inner), -1)
    if padding is not None:  # the convolution has a bias, which must not enter the state
        parts = [part.masked_fill(padding, 0) for part in parts]
    x, B, C = (part.to(z.dtype).unflatten(-1, (-1, head_dim)) for part in parts)
    dt = F.softplus(dt.float() + dt_bias.float())
    if discrete:
        x = repeat_heads(x, heads)
    y, ssm_state = ssd(
        (x / dt[..., None]).to(x.dtype) if discrete else x,  # the recurrence multiplies by dt again
        dt,
        -torch.exp(A_log.float()),  # in half precision exp(A_log) would lose most of its digits
        B,
        C,
        torch.zeros_like(D) if discrete else D,
        None if state is None else state[1],
        lengths=lengths,
        chunk_size=chunk_size,
    )
    if discrete:
        y = (y + D[:, None] * x).to(x.dtype)
    if state is not None:
        for kept, new in zip(state, (conv_state, ssm_state), strict=True):
            kept.copy_(new)
    y = y.flatten(2)
    return y * F.silu(z) if norm_weight is None else gated_rms_norm(y, z, norm_weight, eps, head_dim)
