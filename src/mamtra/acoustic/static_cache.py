"""Room of fixed size for the past of one Euler step, so that one recording serves all hops of a kind, steps and streams.

A stream keeps its past in pieces, one for each hop, and never copies them together. For a step they are laid into the room
behind the place of the new frames: attention does not ask for the order of its keys, so the new ones always stand at the same
place, those before behind them, and a mask hides what is left over.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mamtra.acoustic.estimator import CausalConv1d, SelfAttention
from mamtra.acoustic.masks import additive, attention_mask


class RoomPlan:
    """Which part of a room belongs to which layer.

    Args:
        network: its causal convolutions must have one kernel size, its attentions one number and width of heads.

    Attributes:
        before: frames that a convolution looks back.
        channels: of all convolutions' inputs together.
        places: keys' and values' layers, two for each attention.
        width: of the keys of all heads together.
    """

    def __init__(self, network: nn.Module) -> None:
        convolutions = [module for module in network.modules() if isinstance(module, CausalConv1d)]
        attentions = [module for module in network.modules() if isinstance(module, SelfAttention)]
        self.before, self.channels, self.inputs = convolutions[0].before, 0, {}
        for layer in convolutions:
            self.inputs[layer] = slice(self.channels, self.channels + layer.in_channels)
            self.channels += layer.in_channels
        names = [(layer, name) for layer in attentions for name in ("key", "value")]
        self.order = {name: place for place, name in enumerate(names)}
        self.places, self.split = len(names), attentions[0].split
        self.width = self.split[0] * self.split[1]


class StepRoom:
    """The `Memory` of one call of the network.

    Args:
        plan: of the network.
        keys: (places, B, room, width), written: the new frames first, then what was before, then anything finite.
        mask: (T, room) to be added to scores, see `room_mask`.
        inputs: (B, before, channels) what convolutions saw last.
    """

    def __init__(self, plan: RoomPlan, keys: Tensor, mask: Tensor, inputs: Tensor) -> None:
        self._plan, self._keys, self._mask, self._inputs = plan, keys, mask, inputs
        self._after: dict[nn.Module, Tensor] = {}

    def behind(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """See `Memory`."""
        joined = torch.cat([self._inputs[:, :, self._plan.inputs[layer]], x], dim=1)
        self._after[layer] = joined[:, joined.shape[1] - count :]
        return joined

    def appended(self, layer: nn.Module, name: str, x: Tensor) -> Tensor:
        """See `Memory`."""
        place = self._keys[self._plan.order[layer, name]].unflatten(-1, self._plan.split).transpose(1, 2)
        place[:, :, : x.shape[2]] = x
        return place

    def visible(self, size: int, chunk: int, seen: int, like: Tensor) -> Tensor:
        """See `Memory`."""
        return self._mask

    @property
    def after(self) -> Tensor:
        """The inputs (B, before, channels) for the step after this one."""
        return torch.cat([self._after[layer] for layer in self._plan.inputs], dim=-1)


def lay_out(keys: Tensor, size: int, pieces: Sequence[Tensor]) -> None:
    """Lay a past into a room (places, B, room, width): pieces (places, B, n, width) behind `size` new frames, then zeros."""
    at = size
    for piece in pieces:
        _wide(keys)[:, :, at : at + piece.shape[2]] = _wide(piece)
        at += piece.shape[2]
    # Weights of nothing still make NaN of what is not a number.
    keys[:, :, at:] = 0


def take_out(keys: Tensor, size: int) -> Tensor:
    """The piece (places, B, size, width) that the new frames of a room have become."""
    return _wide(keys)[:, :, :size].clone(memory_format=torch.contiguous_format).view(keys.dtype)


def _wide(keys: Tensor) -> Tensor:
    """The same memory in words of eight bytes, where it has them: strided copies of small numbers are slow on GPUs."""
    return keys.view(torch.int64) if keys.shape[-1] * keys.element_size() % 8 == 0 else keys


def room_mask(frames: int, size: int, seen: int, room: int, chunk: int, like: Tensor) -> Tensor:
    """What is added to the scores of `size` new positions, in the order of `lay_out`.

    Args:
        frames: new positions that there are; those up to `size` are hidden.
        size: T.
        seen: positions before, a multiple of `chunk`.
        room: keys.
        chunk: chunk length in positions.
        like: gives device and type.

    Returns:
        (T, room) of 0 and -inf.
    """
    mask = torch.ones(size, room, dtype=torch.bool, device=like.device)
    chunked = attention_mask(size, None, chunk, like.device)
    if chunked is not None:
        mask[:, :size] = chunked[0, 0]
    mask[:, frames:size] = False
    mask[:, size + seen :] = False
    return additive(mask, like.dtype)
