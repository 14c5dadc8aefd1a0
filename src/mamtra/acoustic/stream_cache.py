"""What causal layers remember of the positions before, so that a stream continues where it stopped.

A layer that sees only the past (a causal convolution, attention by chunks) gives for new positions exactly what it would give
in one pass over everything, if it is handed the inputs or keys and values that it saw before.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.masks import additive, attention_mask


class Memory(Protocol):
    """What layers ask of the positions before them; `Past` keeps them, `mamtra.acoustic.static_cache` lends room for them."""

    def behind(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """New positions (B, T, C) with the `count` before them, zeros at the very start: (B, count + T, C)."""

    def appended(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """New keys or values (B, heads, T, D) together with those before, (B, heads, any, D), in the order of `visible`."""

    def visible(self, size: int, chunk: int, seen: int, like: Tensor) -> Tensor | None:
        """What is added to the scores of `size` new positions over what `appended` gives; None where all is visible.

        `like` has its device and type, `seen` positions came before.
        """


class Past:
    """Memory of one stream, filled by the layers as they run.

    Tensors in it are replaced and never written to, so a fork shares all of them.

    Attributes:
        slot: layers that run several times for the same position, as in an ODE solver, keep one memory for each slot.
    """

    def __init__(self) -> None:
        self.slot = 0
        self._kept: dict[tuple[object, str, int], tuple[Tensor, ...]] = {}

    def behind(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """New positions (B, T, C) with the `count` before them, zeros at the very start: (B, count + T, C)."""
        kept = self.remembered(layer, "input")
        joined = torch.cat([*kept, x], dim=1) if kept else F.pad(x, (0, 0, count, 0))
        self.remember(layer, "input", (joined[:, joined.shape[1] - count :].clone(),))
        return joined

    def appended(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """All that `layer` ever appended under `name`: (B, heads, T, D) becomes (B, heads, T before + T, D)."""
        kept = self.remembered(layer, name)
        joined = torch.cat([*kept, x], dim=2) if kept else x
        self.remember(layer, name, (joined,))
        return joined

    def visible(self, size: int, chunk: int, seen: int, like: Tensor) -> Tensor | None:
        """`attention_mask` of `size` positions over those `seen` before and themselves, to be added to scores."""
        return additive(attention_mask(size, None, chunk, like.device, seen), like.dtype)

    def remembered(self, owner: object, name: str) -> tuple[Tensor, ...]:
        """What was put there by `remember` in this slot; nothing at the very start."""
        return self._kept.get((owner, name, self.slot), ())

    def remember(self, owner: object, name: str, tensors: tuple[Tensor, ...]) -> None:
        """Keep tensors for this slot in the place of those kept before; nobody may write to them afterwards."""
        self._kept[owner, name, self.slot] = tensors

    def fork(self) -> Past:
        """A second stream that goes on from here."""
        other = Past()
        other._kept = dict(self._kept)
        return other

    @property
    def bytes(self) -> int:
        """Memory held, shared tensors included."""
        return sum(tensor.nbytes for tensors in self._kept.values() for tensor in tensors)
