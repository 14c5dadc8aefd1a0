"""A cache in buffers of fixed capacity for one Euler step, so that one captured graph serves all hops, steps and streams.

A stream keeps its keys and values in blocks, one for each hop, and never concatenates them. For a step they are packed into
the buffer after the slots of the new frames: attention does not depend on the order of its keys, so the new ones are always
at the front, the cached ones follow, and a mask hides the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mamtra.acoustic.estimator import CausalConv1d, SelfAttention
from mamtra.acoustic.history import Span
from mamtra.acoustic.masks import additive
from mamtra.acoustic.stream_cache import LayerCache


class BufferPlan:
    """Which part of the buffers belongs to which layer.

    Args:
        network: its causal convolutions must have one kernel size, its attentions one number and width of heads.

    Attributes:
        context: earlier frames that a convolution reads.
        channels: of all convolutions' inputs together.
        rows: of the buffer of keys and values, two for each attention.
        width: of the keys of all heads together.
    """

    def __init__(self, network: nn.Module) -> None:
        convolutions = [module for module in network.modules() if isinstance(module, CausalConv1d)]
        attentions = [module for module in network.modules() if isinstance(module, SelfAttention)]
        self.context, self.channels, self.inputs = convolutions[0].context, 0, {}
        for layer in convolutions:
            self.inputs[layer] = slice(self.channels, self.channels + layer.in_channels)
            self.channels += layer.in_channels
        names = [(layer, name) for layer in attentions for name in ("key", "value")]
        self.row_of = {name: row for row, name in enumerate(names)}
        self.rows, self.split = len(names), attentions[0].split
        self.width = self.split[0] * self.split[1]


class StaticCache(LayerCache):
    """The `LayerCache` of one call of the network.

    Args:
        plan: of the network.
        keys: (rows, B, capacity, width), updated in place: slots for the new frames, the cached ones, then finite values.
        mask: (T, capacity) to add to the scores, see `buffer_mask`.
        offset: (1,) float32 positions before the new ones.
        inputs: (B, context, channels) the last inputs of all convolutions.
    """

    def __init__(self, plan: BufferPlan, keys: Tensor, mask: Tensor, offset: Tensor, inputs: Tensor) -> None:
        self._plan, self._keys, self._mask, self._offset, self._inputs = plan, keys, mask, offset, inputs
        self._last: dict[nn.Module, Tensor] = {}

    def prepend(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """See `LayerCache`."""
        joined = torch.cat([self._inputs[:, :, self._plan.inputs[layer]], x], dim=1)
        self._last[layer] = joined[:, joined.shape[1] - count :]
        return joined

    def append(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """See `LayerCache`; all `capacity` keys, the new ones first."""
        row = self._keys[self._plan.row_of[layer, name]].unflatten(-1, self._plan.split).transpose(1, 2)
        row[:, :, : x.shape[2]] = x
        return row

    def score_mask(self, size: int, chunk: int, offset: int, like: Tensor) -> Tensor:
        """See `LayerCache`."""
        return self._mask

    def positions(self, size: int, offset: int, device: torch.device) -> Tensor:
        """See `LayerCache`; the number before them is an input of the captured graph."""
        return self._offset + torch.arange(size, device=device)

    @property
    def last_inputs(self) -> Tensor:
        """(B, context, channels): `inputs` of the step after this one."""
        return torch.cat([self._last[layer] for layer in self._plan.inputs], dim=-1)


def pack(keys: Tensor, size: int, blocks: Sequence[Tensor]) -> None:
    """Copy blocks (rows, B, n, width) into a buffer (rows, B, capacity, width) after `size` slots, and zero what follows."""
    at = size
    for block in blocks:
        _wide(keys)[:, :, at : at + block.shape[2]] = _wide(block)
        at += block.shape[2]
    # A weight of zero times NaN is NaN.
    keys[:, :, at:] = 0


def unpack(keys: Tensor, size: int) -> Tensor:
    """Copy the block (rows, B, size, width) of the new frames out of a buffer."""
    return _wide(keys)[:, :, :size].clone(memory_format=torch.contiguous_format).view(keys.dtype)


def _wide(keys: Tensor) -> Tensor:
    """The same memory in words of eight bytes where the width allows: strided copies of small numbers are slow on GPUs."""
    return keys.view(torch.int64) if keys.shape[-1] * keys.element_size() % 8 == 0 else keys


def buffer_mask(frames: int, size: int, offset: int, capacity: int, span: Span, like: Tensor) -> Tensor:
    """What to add to the scores of `size` new positions, for keys in the order of `pack`.

    Args:
        frames: new positions that exist; those from there up to `size` are hidden.
        size: T.
        offset: positions before them, a multiple of `chunk`.
        capacity: keys.
        span: what they see.
        like: gives device and type.

    Returns:
        (T, capacity) of 0 and -inf.
    """
    mask = torch.zeros(size, capacity, dtype=torch.bool, device=like.device)
    seen = span.visible(size, offset, like.device)
    cached = sum(map(len, span.runs(size, offset))) - size
    mask[:, :frames] = True if seen is None else seen[:, cached : cached + frames]
    mask[:, size : size + cached] = True if seen is None else seen[:, :cached]
    return additive(mask, like.dtype)
