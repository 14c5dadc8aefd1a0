"""Where the keys and values of the rows of a hop lie, see `mamtra.ops.paged_attention`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Which pages the rows of a hop read and write; int64 tensors on the device.

    Attributes:
        prefix: (B, F) pages in front, the first of them used.
        prefix_count: (B,) how many.
        ring: (B, R) pages of the window from the oldest to the newest, the last of them used.
        ring_count: (B,) how many.
        target: (B,) page that takes the new keys and values.
        fresh: (B,) new positions that exist, from 1 on; others are seen by none.
        hidden: first positions of the oldest of R pages that are outside the window.
    """

    prefix: Tensor
    prefix_count: Tensor
    ring: Tensor
    ring_count: Tensor
    target: Tensor
    fresh: Tensor
    hidden: int = 0

    def at(self, scale: int) -> Places:
        """The same where a position is divided into `scale`."""
        return Places(
            self.prefix,
            self.prefix_count,
            self.ring,
            self.ring_count,
            self.target,
            self.fresh * scale,
            self.hidden * scale,
        )

    def table(self) -> Tensor:
        """(B, F + R) pages, unused ones included."""
        return torch.cat([self.prefix, self.ring], dim=1)

    def visible(self, size: int) -> Tensor:
        """(B, (F + R + 1) * size) bool, True for the keys of the table's pages and the new ones that are seen."""
        device, slots = self.prefix.device, self.ring.shape[1]
        front = torch.arange(self.prefix.shape[1] * size, device=device) < (self.prefix_count * size)[:, None]
        key = torch.arange(slots * size, device=device)
        window = (key >= ((slots - self.ring_count) * size)[:, None]) & (key >= self.hidden)
        new = torch.arange(size, device=device) < self.fresh[:, None]
        return torch.cat([front, window, new], dim=1)
