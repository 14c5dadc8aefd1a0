"""The state-space dual of Mamba-2 (Dao and Gu 2024, arXiv 2405.21060): loop, chunks, one step, and one entry point.

All forms compute, for every head on its own,

    h_t = exp(dt_t * A) * h_{t-1} + dt_t * x_t B_t^T          y_t = h_t C_t + D * x_t

With dt = 1, A = 0 and D = 0 this is the linear attention of MamTra's Eq. 4 (arXiv 2603.12342) with C = Q, B = K, x = V.
A step with dt = 0 does not change the state, which is how right padding is handled.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_STEPS = 16
"""Chunks up to which `ssd_chunked` carries the states sequentially."""


def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    initial_state: Tensor | None = None,
    *,
    lengths: Tensor | None = None,
    chunk_size: int = 64,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence: one step for a single input, in chunks for more.

    Args:
        x: (batch, length, groups, P); heads are a multiple of groups, neighbours share one as in grouped-query attention.
        dt: (batch, length, heads), after its softplus, not negative.
        A: (heads,), negative.
        B: (batch, length, groups, N).
        C: (batch, length, heads, N).
        D: (heads,).
        initial_state: (batch, heads, P, N); zeros when absent.
        lengths: (batch,) int64, valid inputs of each right-padded row. Outputs after them are undefined.
        chunk_size: inputs per chunk.

    Returns:
        ``y`` (batch, length, heads, P) in the dtype of ``x``, and the state after the last valid input (batch, heads, P,
        N), float32 (float64 for float64 inputs).
    """
    if lengths is not None:
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        dt = dt * valid[..., None]
    x, B = repeat_heads(x, C.shape[2]), repeat_heads(B, C.shape[2])
    if x.shape[1] > 1:
        return ssd_chunked(x, dt, A, B, C, D, initial_state, chunk_size=chunk_size)
    if initial_state is None:
        initial_state = x.new_zeros(x.shape[0], *x.shape[2:], B.shape[-1], dtype=_decay_dtype(x))
    y, state = ssd_step(x[:, 0], dt[:, 0], A, B[:, 0], C[:, 0], D, initial_state)
    return y.unsqueeze(1), state


def repeat_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, length, groups, size) to (batch, length, heads, size); neighbouring heads share a group."""
    return x.unsqueeze(3).expand(-1, -1, -1, heads // x.shape[2], -1).flatten(2, 3)


def ssd_naive(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, initial_state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition as a loop over time, the reference for the other forms.

    Arguments and results as in `ssd`, x and B of all heads.
    """
    state = initial_state
    if state is None:
        state = x.new_zeros(x.shape[0], *x.shape[2:], B.shape[-1], dtype=_decay_dtype(x))
    outputs = []
    for t in range(x.shape[1]):
        y, state = ssd_step(x[:, t], dt[:, t], A, B[:, t], C[:, t], D, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def ssd_step(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One input of the recurrence.

    Args:
        x: (batch, heads, P).
        dt: (batch, heads).
        A: (heads,).
        B: (batch, heads, N).
        C: (batch, heads, N).
        D: (heads,).
        state: (batch, heads, P, N).

    Returns:
        ``y`` (batch, heads, P) in the dtype of ``x``, and the new state.
    """
    kind = state.dtype
    dt = dt.to(kind)
    decay = torch.exp(dt * A.to(kind))
    update = (dt[..., None] * x)[..., None] * B[..., None, :]
    state = state * decay[..., None, None] + update.to(kind)
    y = (state * C[..., None, :]).sum(-1) + D[:, None] * x
    return y.to(x.dtype), state


def ssd_chunked(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    initial_state: Tensor | None = None,
    *,
    chunk_size: int = 64,
) -> tuple[Tensor, Tensor]:
    """Matrix products inside chunks; the states are carried from chunk to chunk.

    There is no loop over inputs and no control flow on values, so it can be compiled, differentiated and captured in a
    CUDA graph. Decays are float32 even where products run in bfloat16. Arguments and results as in `ssd`, x and B of all heads.
    """
    batch, length, heads, size = x.shape
    chunk = min(chunk_size, length)
    padding = -length % chunk
    if padding:
        x, B, C = (F.pad(t, (0, 0, 0, 0, 0, padding)) for t in (x, B, C))
        dt = F.pad(dt, (0, 0, 0, padding))
    kind, wide = x.dtype, _decay_dtype(x)

    def by_chunk(t: Tensor) -> Tensor:
        return t.unflatten(1, (-1, chunk)).transpose(2, 3)  # (batch, chunks, heads, chunk, ...)

    dt = by_chunk(dt.to(wide))
    Bc, Cc = by_chunk(B), by_chunk(C)
    xdt = (by_chunk(x) * dt[..., None]).to(kind)
    log_decay = torch.cumsum(dt * A.to(wide)[:, None], -1)  # (batch, chunks, heads, chunk)

    # Inside a chunk: the masked "attention matrix" C_i B_j^T exp(sum of log decays in (j, i]).
    weights = (Cc @ Bc.transpose(-1, -2)) * _decay_matrix(log_decay)
    y = weights.to(kind) @ xdt

    # What each chunk adds to the state at its end.
    to_end = torch.exp(log_decay[..., -1:] - log_decay)
    added = (xdt * to_end[..., None]).to(kind).transpose(-1, -2) @ Bc  # (batch, chunks, heads, P, N)

    # State at the start of every chunk and after the last one; float32, since its errors would persist through all
    # chunks.
    if initial_state is None:
        initial_state = x.new_zeros(batch, heads, size, B.shape[-1], dtype=wide)
    before, last = _hand_over(log_decay[..., -1], added, initial_state.to(wide))

    y = y + (Cc @ before.transpose(-1, -2)) * torch.exp(log_decay)[..., None]
    y = y.transpose(2, 3).flatten(1, 2) + D[:, None] * x
    return y[:, :length].to(kind), last


def _hand_over(log_decay: Tensor, added: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Carry the state from chunk to chunk.

    Few chunks are unrolled to multiplications and additions, which the compiler fuses into one pass over ``added``; more
    chunks use one small matrix product.

    Args:
        log_decay: (batch, chunks, heads), of whole chunks.
        added: (batch, chunks, heads, P, N), what each chunk adds to the state at its end.
        state: (batch, heads, P, N) before the first chunk, float32 or float64 as is ``log_decay``.

    Returns:
        The states before each chunk (batch, chunks, heads, P, N) in the dtype of ``added``, and the state after the last one.
    """
    kind, wide = added.dtype, state.dtype
    if added.shape[1] <= MOST_STEPS:
        before = []
        for keep, more in zip(log_decay.exp().unbind(1), added.unbind(1), strict=True):
            before.append(state.to(kind))
            state = keep[..., None, None] * state + more.to(wide)
        return torch.stack(before, 1), state
    sources = torch.cat((state.unsqueeze(1), added.to(wide)), 1).transpose(1, 2).flatten(3)
    total = F.pad(log_decay.transpose(1, 2), (1, 0)).cumsum(-1)
    with without_autocast(state.device):
        carried = (_decay_matrix(total) @ sources).unflatten(3, state.shape[2:])  # (batch, heads, chunks + 1, P, N)
    return carried[:, :, :-1].transpose(1, 2).to(kind), carried[:, :, -1]


def _decay_matrix(log_decay: Tensor) -> Tensor:
    """``exp(s_i - s_j)`` for j <= i and 0 above the diagonal; (..., T) -> (..., T, T).

    The mask comes before the exponential: above the diagonal the difference is positive and might overflow to infinity,
    whose gradient times zero is NaN.
    """
    steps = log_decay.shape[-1]
    above = torch.ones(steps, steps, dtype=torch.bool, device=log_decay.device).triu(1)
    return (log_decay[..., :, None] - log_decay[..., None, :]).masked_fill(above, float("-inf")).exp()


def _decay_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """A context without autocast; the meta device has none to switch off."""
    # asking torch whether a device has autocast would be a graph break in compiled layers
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
