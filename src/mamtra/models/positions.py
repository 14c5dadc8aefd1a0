"""Positions, rotary tables and attention mask of one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mamtra.models.config import BackboneConfig
from mamtra.ops.rope import rope_table


@dataclass(frozen=True)
class Positions:
    """Where the L inputs of one forward pass lie in their sequences; made once and read by all layers.

    Attributes:
        cos: broadcastable to (B, heads, L, head_dim), cosine of the rotary angles.
        sin: the same, signed sine (see `mamtra.ops.rope.rope_table`).
        offset: cached positions before this pass.
        lengths: (B,) valid inputs of right-padded rows, or None.
        ids: (B, L) int64 position ids where rows differ, else None.
        mask: (B or 1, 1, L, offset + L) bool, True where a query attends; None for plain causal attention without a cache.
        valid: (B, L) bool, False in the padding before left-padded rows; None without such padding. Only the Mamba mixers
            read it, for attention the mask holds the same.
    """

    cos: Tensor
    sin: Tensor
    offset: int = 0
    lengths: Tensor | None = None
    ids: Tensor | None = None
    mask: Tensor | None = None
    valid: Tensor | None = None

    @classmethod
    def from_zero(cls, length: int, config: BackboneConfig, device: torch.device) -> Positions:
        """Positions 0 .. length - 1 of whole sequences, without a cache."""
        return cls(*rope_table(length, config.rope_frequencies(device)))
