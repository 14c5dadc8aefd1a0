"""One step of the Mamba mixer between its two projections: convolution, state update in place, gate and norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import use_triton
from mamtra.ops.decode_types import MambaWeights
from mamtra.ops.norms import gated_rms_norm


def mamba_step(
    projected: Tensor, conv: Tensor, ssm: Tensor, slots: Tensor, lengths: Tensor, weights: MambaWeights
) -> Tensor:
    """Advance the states of some slots by one input.

    The convolution's cache is a ring of K inputs: that of position p lies at ``p % K``, so that a step writes one entry and moves
    none.

    Args:
        projected: (B, width) of ``[z | x | B | C | dt | anything]``: z and C as wide as all heads, x and B as all groups, dt
            one per head.
        conv: (slots, K, channels), written in place.
        ssm: (slots, heads, head_dim, head_dim), P x N, float32 or bfloat16; written in place, computed in float32.
        slots: (B,) int32 or int64, the slot of each row; no slot twice unless its content is of no interest.
        lengths: (slots,) of the same type, positions before this one; not changed.
        weights: of the mixer.

    Returns:
        (B, heads * head_dim) in the dtype of ``projected``, the input of ``out_proj``.
    """
    if use_triton(projected.device, ssm.shape[2]):
        from mamtra.ops.mamba_step_triton import mamba_step_triton

        return mamba_step_triton(projected, conv, ssm, slots, lengths, weights)
    return mamba_step_naive(projected, conv, ssm, slots, lengths, weights)


def mamba_step_naive(
    projected: Tensor, conv: Tensor, ssm: Tensor, slots: Tensor, lengths: Tensor, weights: MambaWeights
) -> Tensor:
    """`mamba_step` in torch's own operations."""
    slots = slots.long()
    taps, heads, dim = weights.taps.shape[1], ssm.shape[1], ssm.shape[2]
    inner, channels = heads * dim, conv.shape[2]
    shared = (channels - inner) // 2
    groups = shared // dim
    z, xbc, dt = projected[:, : inner + channels + heads].split((inner, channels, heads), 1)
    at = lengths[slots].long()
    conv[slots, at % taps] = xbc.to(conv.dtype)
    order = (at[:, None] + torch.arange(1, taps + 1, device=at.device)) % taps  # oldest first
    window = conv[slots[:, None], order].to(projected.dtype)
    mixed = (window * weights.taps.t()).sum(1) + weights.conv_bias
    mixed = (mixed if weights.discrete else F.silu(mixed)).to(projected.dtype)
    x, B, C = mixed.split((shared, shared, inner), 1)
    x, B = (t.view(-1, groups, 1, dim).expand(-1, -1, heads // groups, -1).flatten(1, 2) for t in (x, B))
    C, wide = C.view(-1, heads, dim), torch.promote_types(ssm.dtype, torch.float32)
    dt = F.softplus(dt.float() + weights.dt_bias.float()).to(wide)
    decay = torch.exp(dt * -torch.exp(weights.A_log.to(wide)))
    scaled = x if weights.discrete else dt[..., None] * x
    state = ssm[slots].to(wide) * decay[..., None, None] + (scaled[..., None] * B[..., None, :]).to(wide)
    ssm[slots] = state.to(ssm.dtype)
    y = (state * C[..., None, :]).sum(-1) + weights.D[:, None] * x
    return gated_rms_norm(y.to(projected.dtype).flatten(1), z, weights.norm_weight, weights.eps, dim)
