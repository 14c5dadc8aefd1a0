"""Inputs of streams, padded to a few shapes, each of which a GPU replays as one CUDA graph: those of several streams that begin at
once, or the next of one stream behind what it has taken in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mamtra.engine.input_table import InputTable
from mamtra.engine.slots import Fed
from mamtra.engine.state_pool import StatePool
from mamtra.models.layout import PAD
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.cuda_graphs import GraphCache
from mamtra.runtime.device import to_device

SHORTEST = 32
"""Inputs that a row is padded to at least; longer rows to a power of two."""


class Prefill:
    """Feeds slots.

    Args:
        lm: the model.
        pool: states of the slots; the last slot is scratch memory.
        embed: embeds inputs.
        graphs: capture CUDA graphs, on a GPU.
    """

    def __init__(self, lm: SpeechLM, pool: StatePool, embed: InputTable, graphs: bool) -> None:
        self._lm, self._pool, self._embed = lm, pool, embed
        device = lm.head_weight.device
        # a cache on another device runs everything as it is
        self._graphs = GraphCache(device if graphs else "cpu", capacity=32)

    def __call__(self, streams: Sequence[Fed]) -> None:
        """Take in inputs of one stream, or of several without any before; none is longer than its slot."""
        pool, rows = self._pool, 1 << (len(streams) - 1).bit_length()
        idle = rows - len(streams)
        before = max(fed.before for fed in streams)
        width = _padded(max(len(fed.inputs) for fed in streams), SHORTEST, pool.capacity - before)
        x = self._embed([fed.inputs for fed in streams] + [[]] * idle, width)
        about = [
            [len(fed.inputs) for fed in streams] + [0] * idle,
            [fed.slot for fed in streams] + [pool.slots] * idle,
        ]
        lengths, slots = to_device(torch.tensor(about), x.device)
        if before == 0:
            self._graphs("first", self._first, [x, lengths, slots])
        else:
            reach = _padded(before + width, SHORTEST, pool.capacity)
            place = to_device(torch.tensor([before]), x.device)
            # a capture runs the function once more, so that what it reads must not be what it writes
            states = pool.recurrent(slots, place)
            self._graphs(("next", reach), partial(self._next, reach), [x, lengths, slots, place, *states])

    def warm_up(self, longest: int, together: int) -> None:
        """Capture the graphs for up to so many streams that begin, with up to so many inputs each.

        Args:
            longest: inputs of a stream.
            together: streams.
        """
        scratch, most = self._pool.slots, self._pool.capacity
        widths = {_padded(count, SHORTEST, most) for count in range(1, min(longest, most) + 1)}
        for width in sorted(widths, reverse=True):
            for rows in sorted({1 << (count - 1).bit_length() for count in range(1, together + 1)}, reverse=True):
                for _ in range(2):  # a cache captures at the second call
                    self([Fed(scratch, 0, [(PAD, 0)] * width)] * rows)

    def _first(self, x: Tensor, lengths: Tensor, slots: Tensor) -> tuple[Tensor]:
        """Inputs from position 0 on."""
        state = self._pool.load(slots, x.shape[1])
        self._lm(x, state, lengths)
        self._pool.store(slots, state, lengths)
        return (lengths,)

    def _next(
        self, reach: int, x: Tensor, lengths: Tensor, slots: Tensor, before: Tensor, conv: Tensor, ssm: Tensor
    ) -> tuple[Tensor]:
        """Inputs behind others, which attend to the first `reach` positions of their slots as far as these are in use."""
        state = self._pool.load(slots, reach, (conv, ssm))
        state.length, state.positions = reach - x.shape[1], before
        self._lm(x, state, lengths)
        self._pool.store(slots, state, before + lengths)
        return (lengths,)


def _padded(count: int, least: int, most: int) -> int:
    """The next power of two, within bounds."""
    return min(most, max(least, 1 << (count - 1).bit_length()))
