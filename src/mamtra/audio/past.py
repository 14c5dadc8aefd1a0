"""What causal layers remember of the positions before, so that a stream continues where it stopped.

A layer that sees only the past (a causal convolution, attention by chunks) gives for new positions exactly what it would give
in one pass over everything, if it is handed the inputs or keys and values that it saw before.
"""

from __future__ import annotations

from collections.abc import Container

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Past:
    """Memory of one stream, filled by the layers as they run.

    Tensors in it are replaced and never written to, so a fork shares all of them.

    Attributes:
        slot: layers that run several times for the same position, as in an ODE solver, keep one memory for each slot.
    """

    def __init__(self) -> None:
        self.slot = 0
        self._kept: dict[tuple[nn.Module, str, int], Tensor] = {}

    def behind(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """New positions (B, T, C) with the `count` before them, zeros at the very start: (B, count + T, C)."""
        key = (layer, "input", self.slot)
        kept = self._kept.get(key)
        joined = F.pad(x, (0, 0, count, 0)) if kept is None else torch.cat([kept, x], dim=1)
        self._kept[key] = joined[:, joined.shape[1] - count :].clone()
        return joined

    def appended(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """All that `layer` ever appended under `name`: (B, heads, T, D) becomes (B, heads, T before + T, D)."""
        key = (layer, name, self.slot)
        kept = self._kept.get(key)
        joined = x if kept is None else torch.cat([kept, x], dim=2)
        self._kept[key] = joined
        return joined

    def of_slot(self, layers: Container[nn.Module]) -> dict[tuple[nn.Module, str], Tensor]:
        """What these layers remember in the current slot, by layer and name."""
        return {key[:2]: tensor for key, tensor in self._kept.items() if key[2] == self.slot and key[0] in layers}

    def replace_slot(self, kept: dict[tuple[nn.Module, str], Tensor]) -> None:
        """Put other memories in the place of those of the current slot."""
        self._kept |= {(*key, self.slot): tensor for key, tensor in kept.items()}

    def fork(self) -> Past:
        """A second stream that goes on from here."""
        other = Past()
        other._kept = dict(self._kept)
        return other

    @property
    def bytes(self) -> int:
        """Memory held, shared tensors included."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._kept.values())
