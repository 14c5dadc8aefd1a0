"""`mamtra.ops.mamba_step` as one Triton kernel: a program advances one head of one row."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from mamtra.ops.decode_kernels import launch_options, wait_for_previous
from mamtra.ops.decode_types import MambaWeights

LAUNCH = {"num_warps": 2, "num_stages": 1}


def mamba_step_triton(
    projected: Tensor, conv: Tensor, ssm: Tensor, slots: Tensor, lengths: Tensor, weights: MambaWeights
) -> Tensor:
    """See `mamtra.ops.mamba_step.mamba_step`; at most four taps, head_dim a power of two."""
    rows, heads, dim = projected.shape[0], ssm.shape[1], ssm.shape[2]
    groups = (conv.shape[2] // dim - heads) // 2
    out = projected.new_empty(rows, heads * dim)
    _step_kernel[(heads, rows)](
        projected, conv, ssm, slots, lengths, *weights[:6], out, projected.stride(0), conv.stride(0),
        ssm.stride(0), weights.eps, H=heads, G=groups, P=dim, K=conv.shape[1],
        DISCRETE=weights.discrete, **LAUNCH, **launch_options(projected.device),
    )  # fmt: skip
    return out


@triton.jit
def _step_kernel(
    projected_at, conv_at, ssm_at, slots_at, lengths_at, taps_at, bias_at, dt_bias_at, A_log_at, D_at, norm_at, out_at,
    width, conv_slot, ssm_slot, eps,
    H: tl.constexpr, G: tl.constexpr, P: tl.constexpr, K: tl.constexpr, DISCRETE: tl.constexpr,
    PDL: tl.constexpr,
):  # fmt: skip
    head, row = tl.program_id(0), tl.program_id(1)
    group = head // (H // G)
    slot = tl.load(slots_at + row).to(tl.int64)
    position = tl.load(lengths_at + slot)
    p, n = tl.arange(0, P), tl.arange(0, P)
    # neither states nor weights are written by the kernel before
    state_at = ssm_at + slot * ssm_slot + head * (P * P) + p[:, None] * P + n[None, :]
    state = tl.load(state_at).to(tl.float32)
    conv_at += slot * conv_slot
    channels: tl.constexpr = (H + 2 * G) * P
    x_channel, B_channel, C_channel = group * P + p, (G + group) * P + n, (2 * G + head) * P + n
    x = _conv_cached(conv_at, taps_at, bias_at, x_channel, position, channels, K)
    B = _conv_cached(conv_at, taps_at, bias_at, B_channel, position, channels, K)
    C = _conv_cached(conv_at, taps_at, bias_at, C_channel, position, channels, K)
    rate, skip = -tl.exp(tl.load(A_log_at + head).to(tl.float32)), tl.load(D_at + head).to(tl.float32)
    dt_bias, norm = tl.load(dt_bias_at + head).to(tl.float32), tl.load(norm_at + head * P + p).to(tl.float32)
    wait_for_previous(PDL)

    own = projected_at + row * width
    z = tl.load(own + head * P + p).to(tl.float32)
    dt = tl.load(own + H * P + channels + head).to(tl.float32) + dt_bias
    dt = tl.where(dt > 20, dt, tl.log(1 + tl.exp(tl.minimum(dt, 20.0))))
    own += H * P
    new_x, new_B, new_C = tl.load(own + x_channel), tl.load(own + B_channel), tl.load(own + C_channel)
    x += new_x.to(tl.float32) * tl.load(taps_at + x_channel * K + K - 1).to(tl.float32)
    B += new_B.to(tl.float32) * tl.load(taps_at + B_channel * K + K - 1).to(tl.float32)
    C += new_C.to(tl.float32) * tl.load(taps_at + C_channel * K + K - 1).to(tl.float32)
    # the entry that is written is the one that nobody reads in this step
    entry = conv_at + position % K * channels
    tl.store(entry + C_channel, new_C.to(conv_at.dtype.element_ty))
    if head % (H // G) == 0:
        tl.store(entry + x_channel, new_x.to(conv_at.dtype.element_ty))
        tl.store(entry + B_channel, new_B.to(conv_at.dtype.element_ty))
    if not DISCRETE:
        x, B, C = x / (1 + tl.exp(-x)), B / (1 + tl.exp(-B)), C / (1 + tl.exp(-C))
    kind = projected_at.dtype.element_ty
    x, B, C = x.to(kind).to(tl.float32), B.to(kind).to(tl.float32), C.to(kind).to(tl.float32)
    scaled = x
    if not DISCRETE:
        scaled = x * dt
    state = state * tl.exp(dt * rate) + scaled[:, None] * B[None, :]
    tl.store(state_at, state.to(ssm_at.dtype.element_ty))
    y = tl.sum(state * C[None, :], 1) + skip * x
    y *= z / (1 + tl.exp(-z))
    y = y * tl.rsqrt(tl.sum(y * y, 0) / P + eps) * norm
    tl.store(out_at + (row * H + head) * P + p, y.to(kind))


@triton.jit
def _conv_cached(conv_at, taps_at, bias_at, channel, position, channels, K: tl.constexpr):
    """The convolution's part that is known before the new input."""
    y = tl.load(bias_at + channel).to(tl.float32)
    for lag in tl.static_range(1, K):
        entry = (position + (K - lag)) % K
        y += tl.load(conv_at + entry * channels + channel).to(tl.float32) * tl.load(taps_at + channel * K + K - 1 - lag)
    return y
