"""Attention of one new position per sequence over its cached keys and values (grouped-query attention), and the cache's update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.ops.backend import use_triton
from mamtra.ops.rope import apply_rope

if TYPE_CHECKING:
    from mamtra.ops.decode_kernels import Workspace


def decode_attention(
    qkv: Tensor,
    cache: Tensor,
    slots: Tensor,
    lengths: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    workspace: Workspace | None = None,
) -> Tensor:
    """Rotate the new queries and keys, write keys and values to the cache, attend to everything up to the new position.

    Args:
        qkv: (B, (heads + 2 * groups) * head_dim), projected queries, keys and values side by side, not yet rotated.
        cache: (slots, 2, groups, capacity, head_dim), RoPE-rotated keys and values; written in place.
        slots: (B,) int32 or int64, the slot of each row; no slot twice unless its content is of no interest.
        lengths: (slots,) of the same type, cached positions of every slot, below the capacity; not changed.
        cos: (capacity, head_dim) float32, from `mamtra.ops.rope.rope_table`.
        sin: the same, signed.
        workspace: scratch memory of the kernels; needed on a GPU with Triton.

    Returns:
        (B, heads * head_dim) in the dtype of ``qkv``.
    """
    if use_triton(qkv.device, cache.shape[4]):
        from mamtra.ops.decode_attention_triton import decode_attention_triton

        return decode_attention_triton(qkv, cache, slots, lengths, cos, sin, workspace)
    if qkv.device.type == "cpu":
        return _by_rows(qkv, cache, slots, lengths, cos, sin)
    return _masked(qkv, cache, slots, lengths, cos, sin)


def decode_attention_naive(
    qkv: Tensor, cache: Tensor, slots: Tensor, lengths: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """The definition, row by row and head by head in float64; arguments and results as in `decode_attention`."""
    groups, dim = cache.shape[2], cache.shape[4]
    heads = qkv.shape[1] // dim - 2 * groups
    out = torch.empty(qkv.shape[0], heads, dim, dtype=qkv.dtype, device=qkv.device)
    for row, slot in enumerate(slots.tolist()):
        at = int(lengths[slot])
        q, k, v = qkv[row].view(-1, dim).split((heads, groups, groups))
        cache[slot, 0, :, at] = apply_rope(k, cos[at], sin[at])
        cache[slot, 1, :, at] = v
        q = apply_rope(q, cos[at], sin[at]).double()
        for head in range(heads):
            keys, values = cache[slot, :, head // (heads // groups), : at + 1].double()
            weights = torch.softmax(keys @ q[head] / dim**0.5, 0)
            out[row, head] = (weights @ values).to(qkv.dtype)
    return out.flatten(1)


def _rotated(qkv: Tensor, groups: int, dim: int, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (B, groups, heads / groups, dim), and keys and values (B, 2, groups, dim)."""
    joint = qkv.view(qkv.shape[0], -1, dim)
    turned = joint.shape[1] - groups
    turned = apply_rope(joint[:, :turned], cos[:, None], sin[:, None])
    heads = turned.shape[1] - groups
    kv = torch.stack((turned[:, heads:], joint[:, heads + groups :]), 1)
    return turned[:, :heads].unflatten(1, (groups, -1)), kv


def _by_rows(qkv: Tensor, cache: Tensor, slots: Tensor, lengths: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """On a CPU: every row reads a view of its own slot. The heads of a group pose as queries of one sequence."""
    at = lengths[slots]
    q, kv = _rotated(qkv, cache.shape[2], cache.shape[4], cos[at], sin[at])
    rows = []
    for row, (slot, position) in enumerate(zip(slots.tolist(), at.tolist(), strict=True)):
        own = cache[slot]
        own[:, :, position] = kv[row]
        keys, values = own[:, :, : position + 1].unbind(0)
        rows.append(F.scaled_dot_product_attention(q[row, None], keys[None], values[None]))
    return torch.cat(rows).flatten(1)


def _masked(qkv: Tensor, cache: Tensor, slots: Tensor, lengths: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """On a GPU without Triton: no shape depends on values, so that a CUDA graph can capture it; slots are copied together."""
    at = lengths[slots].long()
    slots = slots.long()
    q, kv = _rotated(qkv, cache.shape[2], cache.shape[4], cos[at], sin[at])
    # indices on both sides of two slices: the indexed axis comes first
    cache[slots, :, :, at] = kv.to(cache.dtype)
    keys, values = cache[slots].unbind(1)
    mask = (torch.arange(cache.shape[3], device=qkv.device) <= at[:, None])[:, None, None]
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask).flatten(1)
