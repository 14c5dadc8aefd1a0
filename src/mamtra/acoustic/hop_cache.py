"""The caches of one hop: the layers' view of a `HopPool`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamtra.acoustic.hop_pool import HopPool
from mamtra.acoustic.stream_cache import LayerCache
from mamtra.ops.paged_attention import Places, paged_attention


class EstimatorHop(LayerCache):
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
        self._last: dict[tuple[int, nn.Module], Tensor] = {}
        self.slot = 0

    def prepend(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """See `LayerCache`."""
        joined = torch.cat([self._inputs[self.slot][:, :, self._pool.plan.inputs[layer]], x], dim=1)
        self._last[self.slot, layer] = joined[:, joined.shape[1] - count :]
        return joined

    def attend(self, layer: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """See `LayerCache`."""
        number = self._pool.plan.row_of[layer, "key"] // 2
        return paged_attention(q, k, v, self._pool.flow[self.slot, number], self._places)

    def score_mask(self, size: int, chunk: int, offset: int, like: Tensor) -> None:
        """See `LayerCache`; what is visible is in the places."""

    def store(self) -> None:
        """Keep the last inputs of the convolutions for the next hop."""
        layers, steps = list(self._pool.plan.inputs), self._pool.sizes.steps
        kept = [torch.cat([self._last[step, layer] for layer in layers], dim=-1) for step in range(steps)]
        branches = self._pool.sizes.branches
        made = torch.stack(kept).unflatten(1, (branches, -1)).permute(2, 0, 1, 3, 4)
        self._pool.inputs[self._rows] = made
