"""Rows that hold several sequences, or padding after one: each sequence becomes a row of its own, padded behind.

Whole sequences without a cache need no more than this: attention and Mamba are causal, so what is padded behind a sequence
changes nothing in it, and a Mamba layer starts every row from an empty state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mamtra.errors import MamTraError


@dataclass(frozen=True)
class Segments:
    """Where sequences lie in rows (B, L).

    Attributes:
        rows: (N,) int64, the row of each sequence.
        starts: (N,) int64, its first column.
        lengths: (N,) int64.
    """

    rows: Tensor
    starts: Tensor
    lengths: Tensor

    def split(self, hidden: Tensor) -> Tensor:
        """(B, L, H) to (N, longest, H); what lies behind a short sequence is arbitrary and finite."""
        index = self.starts[:, None] + torch.arange(int(self.lengths.max()), device=hidden.device)
        return hidden[self.rows[:, None], index.clamp(max=hidden.shape[1] - 1)]

    def join(self, hidden: Tensor, length: int, batch: int) -> Tensor:
        """(N, longest, H) back to (batch, length, H); zeros where there is no sequence."""
        offset = torch.arange(hidden.shape[1], device=hidden.device)
        real = offset < self.lengths[:, None]
        rows, columns = self.rows[:, None].expand_as(real)[real], (self.starts[:, None] + offset)[real]
        return hidden.new_zeros(batch, length, hidden.shape[-1]).index_put((rows, columns), hidden[real])


def find_segments(mask: Tensor | None, position_ids: Tensor | None, batch: int, length: int) -> Segments | None:
    """The sequences of a pass without a cache; None where each row is one sequence that ends the row.

    Args:
        mask: (B, L), 0 in padding; None for no padding.
        position_ids: (B or 1, L); where they do not go up by one another sequence begins, as in transformers.
        batch: rows B.
        length: columns L.

    Raises:
        MamTraError: another shape, or padding between the inputs of a row.
    """
    if mask is None and position_ids is None:
        return None
    device = mask.device if mask is not None else position_ids.device
    if mask is None:
        real = torch.ones(batch, length, dtype=torch.bool, device=device)
    elif mask.shape != (batch, length):
        raise MamTraError(f"The attention mask has the shape {tuple(mask.shape)}, not {(batch, length)}.")
    else:
        real = mask.bool()
    begins = real & ~torch.nn.functional.pad(real[:, :-1], (1, 0))
    if (begins.sum(1) > 1).any():
        raise MamTraError("There is padding between the inputs of a row; pad before or after them.")
    if position_ids is not None:
        begins |= real & jumps(position_ids)
    plain = begins.sum(1) <= 1
    if bool((plain & (real[:, -1] | ~real.any(1))).all()):
        return None
    rows, starts = begins.nonzero(as_tuple=True)
    ends = real.cumsum(1)  # real inputs up to each column
    before = ends[rows, starts] - 1
    last = torch.cat((rows[1:] != rows[:-1], rows.new_ones(1, dtype=torch.bool)))
    after = torch.where(last, ends[rows, -1], torch.cat((before[1:], before[:1])))
    return Segments(rows, starts, after - before)


def jumps(position_ids: Tensor) -> Tensor:
    """(B, L) bool, where a position does not follow the one before it.

    Raises:
        MamTraError: the ids have another shape.
    """
    if position_ids.dim() != 2:
        raise MamTraError(f"position_ids have the shape {tuple(position_ids.shape)}, not (batch, length).")
    return torch.nn.functional.pad(position_ids.diff(dim=1) != 1, (1, 0))
