"""Masks: padding from lengths, and chunks for streaming."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_positions(lengths: Tensor, size: int) -> Tensor:
    """Mark the positions before each length.

    Args:
        lengths: (B,) int64.
        size: padded length T.

    Returns:
        (B, T) bool, on the device of `lengths`, without a host synchronisation.
    """
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def inside(begin: Tensor, end: Tensor, size: int) -> Tensor:
    """(B, size) bool, True from `begin` to `end`, (B,) int64 each."""
    return valid_positions(end, size) & ~valid_positions(begin, size)


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padded frames of (B, C, T); `mask` is (B, 1, T) bool, False at padding, or None when nothing is padded."""
    return x if mask is None else x * mask


def attention_mask(size: int, valid: Tensor | None, chunk: int, device: torch.device) -> Tensor | None:
    """Build the mask of a self-attention of T positions over themselves; True means visible.

    A query sees every key of its own chunk and of all chunks before it (CosyVoice 2, section 2.3, chunk-aware causal
    flow matching); padded keys are hidden from all queries.

    Args:
        size: number of positions T.
        valid: (B, T) bool of unpadded keys, or None when nothing is padded.
        chunk: chunk length in positions; 0 for full attention.
        device: where to build the chunk mask.

    Returns:
        Bool mask that broadcasts to (B, heads, T, T), or None when everything is visible (so that attention can take
        its fastest path).
    """
    keys = None if valid is None else valid[:, None, None, :]
    if chunk <= 0 or chunk >= size:
        return keys
    position = torch.arange(size, device=device)
    reach = (torch.div(position, chunk, rounding_mode="floor") + 1) * chunk
    chunked = (position[None, :] < reach[:, None])[None, None]
    return chunked if keys is None else chunked & keys


def additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Convert a bool mask, True visible, to one to add to scores, 0 and -inf: once, instead of in each attention layer."""
    return None if mask is None else torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, float("-inf"))
