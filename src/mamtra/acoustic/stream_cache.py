"""What causal layers keep of earlier positions, so that a stream continues where it stopped.

A layer that sees only earlier positions (a causal convolution, chunked attention) computes for new positions exactly what one
pass over everything would give, if it is handed the inputs or keys and values of those before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.history import Span
from mamtra.acoustic.masks import additive


class LayerCache(Protocol):
    """What layers ask of a cache: `StreamCache`, or the fixed buffers of `mamtra.acoustic.static_cache`."""

    def prepend(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """Return (B, count + T, C): the last `count` cached inputs, zeros at the start of a stream, and the new ones (B, T, C)."""

    def append(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """Add keys or values (B, heads, T, D) and return those of the layer, (B, heads, keys, D), in the order of `score_mask`."""

    def attend(self, layer: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from new positions (B, heads, T, D) to them and to those kept; `mask` is from `score_mask`."""
        k, v = self.append(layer, "key", k), self.append(layer, "value", v)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    def score_mask(self, size: int, chunk: int, offset: int, like: Tensor) -> Tensor | None:
        """What to add to the scores of `size` new positions over the keys of `append`; None where all keys are visible.

        It is asked for before the layers that it is for run. `offset` positions came before; the result has the device and type
        of `like`.
        """

    def positions(self, size: int, offset: int, device: torch.device) -> Tensor:
        """Positions (T,) float32 of `size` new ones, of which `offset` came before."""


class StreamCache(LayerCache):
    """The cache of one stream, filled by the layers as they run.

    Tensors in it are replaced and never written to, so a fork shares all of them. Keys and values are kept in blocks, one for each
    hop.

    Args:
        span: what the stream sees of earlier positions, in tokens.

    Attributes:
        span: see above.
        slot: layers that run several times for the same position, as in an ODE solver, have a cache for each slot.
    """

    def __init__(self, span: Span) -> None:
        self.span, self.slot = span, 0
        self._here = span  # at the rate of the layers that run
        self._cached: dict[tuple[object, str, int], tuple[Tensor, ...]] = {}
        self._shared: tuple[Tensor, ...] = ()

    def prepend(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """See `LayerCache`."""
        cached = self.get(layer, "input")
        joined = torch.cat([*cached, x], dim=1) if cached else F.pad(x, (0, 0, count, 0))
        self.put(layer, "input", (joined[:, joined.shape[1] - count :].clone(),))
        return joined

    def append(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """See `LayerCache`; keys are in the order of their positions."""
        blocks = (*self.get(layer, name), x)
        self.put(layer, name, self._here.keep(blocks, 2))
        return torch.cat(blocks, dim=2) if len(blocks) > 1 else x

    def score_mask(self, size: int, chunk: int, offset: int, like: Tensor) -> Tensor | None:
        """See `LayerCache`."""
        return additive(self.visible(size, chunk, offset, like.device), like.dtype)

    def visible(self, size: int, chunk: int, offset: int, device: torch.device) -> Tensor | None:
        """`score_mask` as (T, keys) bool, True visible."""
        self._here = self.span.at(chunk)
        return self._here.visible(size, offset, device)

    def positions(self, size: int, offset: int, device: torch.device) -> Tensor:
        """See `LayerCache`."""
        return torch.arange(offset, offset + size, device=device, dtype=torch.float32)

    def get(self, owner: object, name: str) -> tuple[Tensor, ...]:
        """The tensors that `put` stored in this slot; none at the start of a stream."""
        return self._cached.get((owner, name, self.slot), ())

    def put(self, owner: object, name: str, tensors: tuple[Tensor, ...]) -> None:
        """Store tensors in this slot in place of earlier ones; nobody may write to them afterwards."""
        self._cached[owner, name, self.slot] = tensors

    def fork(self) -> StreamCache:
        """A second stream that continues from here."""
        other = StreamCache(self.span)
        other._cached = dict(self._cached)
        other._shared = tuple(self._tensors())
        return other

    @property
    def bytes(self) -> int:
        """Memory held, shared tensors included."""
        return sum(tensor.nbytes for tensor in self._tensors())

    @property
    def private_bytes(self) -> int:
        """Memory held beyond what the stream that this one was forked from held then."""
        shared = {id(tensor) for tensor in self._shared}
        return sum(tensor.nbytes for tensor in self._tensors() if id(tensor) not in shared)

    def _tensors(self) -> Iterator[Tensor]:
        return (tensor for tensors in list(self._cached.values()) for tensor in tensors)  # another thread may ask
