"""The state-space dual as one Triton kernel forward and one backward; launched by `mamtra.ops.mixer_triton`.

A program iterates over the chunks of one head of one sequence with the state in registers; intermediates that
`mamtra.ops.ssd.ssd_chunked` writes to memory stay on the chip.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 64
LAUNCH = {"forward": {"num_warps": 4, "num_stages": 2}, "backward": {"num_warps": 4, "num_stages": 1}}
"""Launch options of the kernels."""


def scan(x: Tensor, dt: Tensor, A_log: Tensor, B: Tensor, C: Tensor, D: Tensor, y: Tensor, states: Tensor) -> None:
    """`mamtra.ops.ssd.ssd` without an initial state, A = -exp(A_log), written out. All tensors are contiguous.

    Args:
        x: (batch, length, groups, P), P one of 16, 32, 64.
        dt: (batch, heads, length) float32.
        A_log: (heads,).
        B: (batch, length, groups, N), N as P.
        C: (batch, length, heads, N); heads are a multiple of groups, as in grouped-query attention.
        D: (heads,).
        y: (batch, length, heads, P), the result.
        states: (batch, heads, chunks, P, N), before every chunk of `CHUNK` positions, for the backward pass.
    """
    _forward_kernel[(x.shape[0] * C.shape[2],)](
        x, dt, A_log, B, C, D, y, states, *_shape(x, C), **_sizes(x, B), **LAUNCH["forward"]
    )


def scan_backward(
    y_grad: Tensor, states: Tensor, x: Tensor, dt: Tensor, A_log: Tensor, B: Tensor, C: Tensor, D: Tensor,
    x_grad: Tensor, dt_grad: Tensor, B_grad: Tensor, C_grad: Tensor,
) -> Tensor:  # fmt: skip
    """Write the gradients of x, dt, B and C. All tensors are contiguous.

    Args:
        y_grad: (batch, length, heads, P).
        states: from `scan`, as are the arguments up to D.
        x: the sequences, and so on.
        dt: the same.
        A_log: the same.
        B: the same.
        C: the same.
        D: the same.
        x_grad: (batch, length, heads / groups, groups, P), to be summed over the heads of a group.
        dt_grad: the shape of dt, float32.
        B_grad: (batch, length, heads / groups, groups, N), to be summed over the heads of a group.
        C_grad: the shape of C.

    Returns:
        (batch, 2, heads) float32, whose sum over the batch is the gradient of A_log and D.
    """
    sums = torch.empty(x.shape[0], 2, C.shape[2], dtype=torch.float32, device=x.device)
    _backward_kernel[(x.shape[0] * C.shape[2],)](
        y_grad, states, x, dt, A_log, B, C, D, x_grad, dt_grad, B_grad, C_grad, sums, *_shape(x, C),
        **_sizes(x, B), **LAUNCH["backward"],
    )  # fmt: skip
    return sums


def _shape(x: Tensor, C: Tensor) -> tuple[int, int, int, int]:
    """Length, groups, heads and chunks."""
    return C.shape[1], x.shape[2], C.shape[2], -(-C.shape[1] // CHUNK)


def _sizes(x: Tensor, B: Tensor) -> dict[str, int]:
    return {"P": x.shape[-1], "N": B.shape[-1], "T": CHUNK}


@triton.jit
def _forward_kernel(
    x_at, dt_at, A_log_at, B_at, C_at, D_at, y_at, states_at, length, groups, heads, chunks,
    P: tl.constexpr, N: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64)
    row, head = at // heads, at % heads
    repeats = heads // groups
    group = head // repeats
    kind = x_at.dtype.element_ty
    t, p, n = tl.arange(0, T), tl.arange(0, P), tl.arange(0, N)
    decay_rate, skip = -tl.exp(tl.load(A_log_at + head).to(tl.float32)), tl.load(D_at + head).to(tl.float32)
    shared, own = row * length * groups + group, row * length * heads + head  # of the first position
    state = tl.zeros([P, N], tl.float32)
    causal = t[:, None] >= t[None, :]
    for c in range(chunks):
        i = c * T + t
        valid = i < length
        x = tl.load(x_at + shared * P + i[:, None] * (groups * P) + p[None, :], valid[:, None], 0.0)
        B = tl.load(B_at + shared * N + i[:, None] * (groups * N) + n[None, :], valid[:, None], 0.0)
        C = tl.load(C_at + own * N + i[:, None] * (heads * N) + n[None, :], valid[:, None], 0.0)
        dt = tl.load(dt_at + at * length + i, valid, 0.0)
        s = tl.cumsum(dt * decay_rate, 0)
        total = tl.sum(dt * decay_rate, 0)
        held = state.to(kind)
        tl.store(states_at + (at * chunks + c) * (P * N) + p[:, None] * N + n[None, :], held)
        decay = tl.exp(tl.where(causal, s[:, None] - s[None, :], float("-inf")))
        weights = tl.dot(C, tl.trans(B), input_precision="ieee") * decay * dt[None, :]
        y = tl.dot(weights.to(kind), x, input_precision="ieee")
        y += tl.dot(C, tl.trans(held), input_precision="ieee") * tl.exp(s)[:, None]
        y += skip * x.to(tl.float32)
        tl.store(y_at + own * P + i[:, None] * (heads * P) + p[None, :], y.to(kind), valid[:, None])
        scaled = (x * (tl.exp(total - s) * dt)[:, None]).to(kind)
        state = state * tl.exp(total) + tl.dot(tl.trans(scaled), B, input_precision="ieee")


@triton.jit
def _backward_kernel(
    g_at, states_at, x_at, dt_at, A_log_at, B_at, C_at, D_at, x_grad, dt_grad, B_grad, C_grad, sums_at,
    length, groups, heads, chunks,
    P: tl.constexpr, N: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64)
    row, head = at // heads, at % heads
    repeats = heads // groups
    group = head // repeats
    kind = x_at.dtype.element_ty
    t, p, n = tl.arange(0, T), tl.arange(0, P), tl.arange(0, N)
    decay_rate, skip = -tl.exp(tl.load(A_log_at + head).to(tl.float32)), tl.load(D_at + head).to(tl.float32)
    shared, own = row * length * groups + group, row * length * heads + head  # of the first position
    grouped = (
        row * length * heads + head % repeats * groups + group
    )  # as own, in the layout (repeats, groups) of the gradients
    after = tl.zeros([P, N], tl.float32)  # gradient of the state after the chunk
    in_rate, in_skip = 0.0, 0.0
    causal = t[:, None] >= t[None, :]
    for back in range(chunks):
        c = chunks - 1 - back
        i = c * T + t
        valid = i < length
        x = tl.load(x_at + shared * P + i[:, None] * (groups * P) + p[None, :], valid[:, None], 0.0)
        B = tl.load(B_at + shared * N + i[:, None] * (groups * N) + n[None, :], valid[:, None], 0.0)
        C = tl.load(C_at + own * N + i[:, None] * (heads * N) + n[None, :], valid[:, None], 0.0)
        g = tl.load(g_at + own * P + i[:, None] * (heads * P) + p[None, :], valid[:, None], 0.0)
        dt = tl.load(dt_at + at * length + i, valid, 0.0)
        before = tl.load(states_at + (at * chunks + c) * (P * N) + p[:, None] * N + n[None, :])
        s = tl.cumsum(dt * decay_rate, 0)
        total = tl.sum(dt * decay_rate, 0)
        from_start, to_end = tl.exp(s), tl.exp(total - s)
        decay = tl.exp(tl.where(causal, s[:, None] - s[None, :], float("-inf")))
        later = after.to(kind)

        # inside the chunk, weights_ij = (C_i B_j) decay_ij dt_j
        scores = tl.dot(C, tl.trans(B), input_precision="ieee") * decay
        in_weights = tl.dot(g, tl.trans(x), input_precision="ieee")
        in_scores = (in_weights * decay * dt[None, :]).to(kind)
        in_C = tl.dot(in_scores, B, input_precision="ieee")
        in_B = tl.dot(tl.trans(in_scores), C, input_precision="ieee")
        in_x = tl.dot(tl.trans((scores * dt[None, :]).to(kind)), g, input_precision="ieee")
        product = in_weights * scores
        in_dt = tl.sum(product, 0)
        in_s = tl.sum(product * dt[None, :], 1) - in_dt * dt

        # what the state before the chunk adds to its outputs
        from_state = tl.dot(g, before, input_precision="ieee") * from_start[:, None]
        in_C += from_state
        in_s += tl.sum(from_state * C, 1)

        # what the chunk adds to the state after it
        along = tl.dot(x, later, input_precision="ieee")
        pull = tl.sum(along * B, 1) * to_end
        in_B += along * (to_end * dt)[:, None]
        in_x += tl.dot(B, tl.trans(later), input_precision="ieee") * (to_end * dt)[:, None] + skip * g.to(tl.float32)
        in_dt += pull
        in_s -= pull * dt
        in_total = tl.sum(pull * dt, 0) + tl.exp(total) * tl.sum(tl.sum(after * before, 1), 0)

        # s is a running sum of dt A, whose last value is the total
        in_step = tl.sum(in_s, 0) - tl.cumsum(in_s, 0) + in_s + in_total
        in_dt += decay_rate * in_step
        in_rate += tl.sum(in_step * dt, 0)
        in_skip += tl.sum(tl.sum(g.to(tl.float32) * x, 1), 0)
        after = after * tl.exp(total)
        after += tl.dot(tl.trans((g * from_start[:, None]).to(kind)), C, input_precision="ieee")

        tl.store(x_grad + grouped * P + i[:, None] * (heads * P) + p[None, :], in_x.to(kind), valid[:, None])
        tl.store(B_grad + grouped * N + i[:, None] * (heads * N) + n[None, :], in_B.to(kind), valid[:, None])
        tl.store(C_grad + own * N + i[:, None] * (heads * N) + n[None, :], in_C.to(kind), valid[:, None])
        tl.store(dt_grad + at * length + i, in_dt, valid)
    sums_at += row * 2 * heads + head
    tl.store(sums_at, in_rate * decay_rate)
    tl.store(sums_at + heads, in_skip)
