"""The caches of one hop: the layers' view of a `HopPool`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamtra.acoustic.hop_pool import HopPool
from mamtra.ops.paged_attention import paged_attention
from mamtra.ops.places import Places


class EstimatorHop:
    """What the estimator reads and writes in a hop.

    Args:
        pool: of the streams.
        rows: (B,) int64 rows of the streams in the pool.
        places: of their pages, in mel frames.

    Attributes:
        slot: evaluation of the vector field.
    """

    def __init__(self, pool: HopPool, rows: Tensor, places: Places) -> None:
        self._pool, self._rows, self._places = pool, rows, places
        # (steps, branches, B, context, channels)
        self._inputs = pool.inputs[rows].permute(1, 2, 0, 3, 4).contiguous().flatten(1, 2)
        self._last: dict[nn.Module, Tensor] = {}
        self._kept: list[Tensor] = []
        self.slot = 0

    def before(self, layer: nn.Module, x: Tensor) -> Tensor:
        """(B, context, C) inputs of a convolution before its new ones (B, T, C)."""
        self._last[layer] = x[:, x.shape[1] - self._pool.plan.context :]
        return self._inputs[self.slot][:, :, self._pool.plan.inputs[layer]]

    def attend(self, layer: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from new positions (B, heads, T, D) to them and to the pages; what is visible is in the places."""
        number = self._pool.plan.row_of[layer, "key"] // 2
        return paged_attention(q, k, v, self._pool.flow[self.slot, number], self._places)

    def store_step(self) -> None:
        """Keep the last inputs of the convolutions in this evaluation; they would hold a lot of memory otherwise."""
        self._kept.append(torch.cat([self._last[layer] for layer in self._pool.plan.inputs], dim=-1))
        self._last.clear()

    def store(self) -> None:
        """Write what was kept to the pool, for the next hop."""
        made = torch.stack(self._kept).unflatten(1, (self._pool.sizes.branches, -1)).permute(2, 0, 1, 3, 4)
        self._pool.inputs[self._rows] = made
