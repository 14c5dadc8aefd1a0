"""The state-space dual as one Triton kernel forward and one backward, for training on graphics cards.

A program goes through the chunks of one head of one sequence with the state in registers; what `mamtra.ops.ssd.ssd_chunked`
writes out between its products never leaves the chip. Both are operators of their own, so that compiled layers and CUDA graphs
take them as they are.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 64
LAUNCH = {"forward": {"num_warps": 4, "num_stages": 2}, "backward": {"num_warps": 4, "num_stages": 1}}
"""How the kernels are started."""


def ssd_triton(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> tuple[Tensor, Tensor]:
    """`mamtra.ops.ssd.ssd_chunked` without an initial state, x and B not yet repeated to all heads.

    Args:
        x: (batch, length, groups, P), P one of 16, 32, 64.
        dt: (batch, length, heads).
        A: (heads,).
        B: (batch, length, groups, N), N as P.
        C: (batch, length, heads, N); heads are a multiple of groups, as in grouped-query attention.
        D: (heads,).

    Returns:
        ``y`` (batch, length, heads, P) in the dtype of ``x``, and the last state (batch, heads, P, N) float32.
    """
    y, last, _ = _scan(x, dt.float().contiguous(), A.float(), B, C, D.float())
    return y, last


@torch.library.custom_op("mamtra::ssd_scan", mutates_args=())
def _scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y, last, states = _empty(x, dt, A, B, C, D)
    x, B, C = (_rows(t) for t in (x, B, C))
    _forward_kernel[(x.shape[0] * C.shape[2],)](
        x, dt, A, B, C, D, y, last, states, *_shape(C), **_strides(x, B, C), **_sizes(x, B, C), **LAUNCH["forward"]
    )
    return y, last, states


@_scan.register_fake
def _empty(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, length, heads, state = C.shape
    size, chunks = x.shape[-1], -(-length // CHUNK)
    return (
        x.new_empty(batch, length, heads, size),
        dt.new_empty(batch, heads, size, state),
        x.new_empty(batch, heads, chunks, size, state),
    )


@torch.library.custom_op("mamtra::ssd_scan_backward", mutates_args=())
def _scan_backward(
    y_grad: Tensor, last_grad: Tensor, states: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    grads = _empty_backward(y_grad, last_grad, states, x, dt, A, B, C, D)
    x, B, C, y_grad = (_rows(t) for t in (x, B, C, y_grad))
    _backward_kernel[(x.shape[0] * C.shape[2],)](
        y_grad, last_grad.contiguous(), states, x, dt, A, B, C, D, *grads, *_shape(C),
        gb=y_grad.stride(0), gl=y_grad.stride(1), gh=y_grad.stride(2),
        **_strides(x, B, C), **_sizes(x, B, C), **LAUNCH["backward"],
    )  # fmt: skip
    return grads


@_scan_backward.register_fake
def _empty_backward(
    y_grad: Tensor, last_grad: Tensor, states: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of x and B for every head, of A and D for every row: their sums are left to the caller."""
    batch, length, heads, state = C.shape
    return (
        x.new_empty(batch, length, heads, x.shape[-1]),
        dt.new_empty(batch, length, heads),
        dt.new_empty(batch, heads),
        x.new_empty(batch, length, heads, state),
        x.new_empty(batch, length, heads, state),
        dt.new_empty(batch, heads),
    )


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[2], *inputs)


def _differentiate(ctx: Any, y_grad: Tensor, last_grad: Tensor, _: Tensor) -> tuple[Tensor, ...]:
    states, x, dt, A, B, C, D = ctx.saved_tensors
    in_x, in_dt, in_A, in_B, in_C, in_D = _scan_backward(y_grad, last_grad, states, x, dt, A, B, C, D)
    in_x, in_B = (t.unflatten(2, (x.shape[2], -1)).sum(3) for t in (in_x, in_B))
    return in_x, in_dt, in_A.sum(0), in_B, in_C, in_D.sum(0)


_scan.register_autograd(_differentiate, setup_context=_keep)


def _rows(t: Tensor) -> Tensor:
    return t if t.stride(-1) == 1 else t.contiguous()


def _shape(C: Tensor) -> tuple[int, int, int]:
    return C.shape[1], C.shape[2], -(-C.shape[1] // CHUNK)


def _strides(x: Tensor, B: Tensor, C: Tensor) -> dict[str, int]:
    return {f"{name}{axis}": t.stride(i) for name, t in (("x", x), ("b", B), ("c", C)) for i, axis in enumerate("blh")}


def _sizes(x: Tensor, B: Tensor, C: Tensor) -> dict[str, int]:
    return {"repeats": C.shape[2] // x.shape[2], "P": x.shape[-1], "N": B.shape[-1], "T": CHUNK}


@triton.jit
def _forward_kernel(
    x_at, dt_at, A_at, B_at, C_at, D_at, y_at, last_at, states_at, length, heads, chunks,
    xb, xl, xh, bb, bl, bh, cb, cl, ch, repeats,
    P: tl.constexpr, N: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64)
    row, head = at // heads, at % heads
    group = head // repeats
    kind = x_at.dtype.element_ty
    t, p, n = tl.arange(0, T), tl.arange(0, P), tl.arange(0, N)
    decay_rate, skip = tl.load(A_at + head), tl.load(D_at + head)
    state = tl.zeros([P, N], tl.float32)
    causal = t[:, None] >= t[None, :]
    for c in range(chunks):
        i = c * T + t
        valid = i < length
        x = tl.load(x_at + row * xb + group * xh + i[:, None] * xl + p[None, :], valid[:, None], 0.0)
        B = tl.load(B_at + row * bb + group * bh + i[:, None] * bl + n[None, :], valid[:, None], 0.0)
        C = tl.load(C_at + row * cb + head * ch + i[:, None] * cl + n[None, :], valid[:, None], 0.0)
        dt = tl.load(dt_at + (row * length + i) * heads + head, valid, 0.0)
        s = tl.cumsum(dt * decay_rate, 0)
        total = tl.sum(dt * decay_rate, 0)
        held = state.to(kind)
        tl.store(states_at + (at * chunks + c) * (P * N) + p[:, None] * N + n[None, :], held)
        decay = tl.exp(tl.where(causal, s[:, None] - s[None, :], float("-inf")))
        weights = tl.dot(C, tl.trans(B), input_precision="ieee") * decay * dt[None, :]
        y = tl.dot(weights.to(kind), x, input_precision="ieee")
        y += tl.dot(C, tl.trans(held), input_precision="ieee") * tl.exp(s)[:, None]
        y += skip * x.to(tl.float32)
        tl.store(y_at + ((row * length + i[:, None]) * heads + head) * P + p[None, :], y.to(kind), valid[:, None])
        scaled = (x * (tl.exp(total - s) * dt)[:, None]).to(kind)
        state = state * tl.exp(total) + tl.dot(tl.trans(scaled), B, input_precision="ieee")
    tl.store(last_at + at * (P * N) + p[:, None] * N + n[None, :], state)


@triton.jit
def _backward_kernel(
    g_at, last_at, states_at, x_at, dt_at, A_at, B_at, C_at, D_at,
    x_grad, dt_grad, A_grad, B_grad, C_grad, D_grad, length, heads, chunks,
    gb, gl, gh, xb, xl, xh, bb, bl, bh, cb, cl, ch, repeats,
    P: tl.constexpr, N: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64)
    row, head = at // heads, at % heads
    group = head // repeats
    kind = x_at.dtype.element_ty
    t, p, n = tl.arange(0, T), tl.arange(0, P), tl.arange(0, N)
    decay_rate, skip = tl.load(A_at + head), tl.load(D_at + head)
    after = tl.load(last_at + at * (P * N) + p[:, None] * N + n[None, :])  # gradient of the state behind the chunk
    in_rate, in_skip = 0.0, 0.0
    causal = t[:, None] >= t[None, :]
    for back in range(chunks):
        c = chunks - 1 - back
        i = c * T + t
        valid = i < length
        x = tl.load(x_at + row * xb + group * xh + i[:, None] * xl + p[None, :], valid[:, None], 0.0)
        B = tl.load(B_at + row * bb + group * bh + i[:, None] * bl + n[None, :], valid[:, None], 0.0)
        C = tl.load(C_at + row * cb + head * ch + i[:, None] * cl + n[None, :], valid[:, None], 0.0)
        g = tl.load(g_at + row * gb + head * gh + i[:, None] * gl + p[None, :], valid[:, None], 0.0)
        dt = tl.load(dt_at + (row * length + i) * heads + head, valid, 0.0)
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

        # what the chunk adds to the state behind it
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

        place = (row * length + i) * heads + head
        tl.store(x_grad + place[:, None] * P + p[None, :], in_x.to(kind), valid[:, None])
        tl.store(B_grad + place[:, None] * N + n[None, :], in_B.to(kind), valid[:, None])
        tl.store(C_grad + place[:, None] * N + n[None, :], in_C.to(kind), valid[:, None])
        tl.store(dt_grad + place, in_dt, valid)
    tl.store(A_grad + at, in_rate)
    tl.store(D_grad + at, in_skip)
