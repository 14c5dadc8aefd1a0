"""Streams that begin: the inputs of several at once, padded to a few shapes, each of which a GPU replays as one CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamtra.engine.request import Inputs
from mamtra.engine.state_pool import StatePool
from mamtra.models.layout import PAD
from mamtra.models.speech_lm import SpeechLM
from mamtra.models.state import AttentionState, DecodeState, MambaState
from mamtra.runtime.cuda_graphs import GraphCache

SHORTEST = 32
"""Inputs that a row is padded to at least; longer rows to a power of two."""


class Prefill:
    """Feeds empty slots.

    Args:
        lm: the model.
        pool: states of the slots; the last slot is scratch memory.
        graphs: capture CUDA graphs, on a GPU.
    """

    def __init__(self, lm: SpeechLM, pool: StatePool, graphs: bool) -> None:
        self._lm, self._pool = lm, pool
        device = lm.head_weight.device
        # a cache on another device runs everything as it is
        self._graphs = GraphCache(device if graphs else "cpu", capacity=32)

    def __call__(self, streams: Sequence[tuple[int, Inputs]]) -> None:
        """Take in the inputs of streams, each with its slot; none is empty, and none is longer than a slot."""
        lm, pool = self._lm, self._pool
        rows = 1 << (len(streams) - 1).bit_length()
        longest = max(len(inputs) for _, inputs in streams)
        width = min(pool.capacity, max(SHORTEST, 1 << (longest - 1).bit_length()))
        padded = [inputs + [(PAD, 0)] * (width - len(inputs)) for _, inputs in streams]
        padded += [[(PAD, 0)] * width] * (rows - len(streams))
        idle = rows - len(streams)
        kind, ids = torch.tensor(padded).unbind(2)
        x = lm.embed(*(t.to(lm.model.embed_tokens.weight.device) for t in (kind, ids)))
        about = [
            [len(inputs) for _, inputs in streams] + [0] * idle,
            [slot for slot, _ in streams] + [pool.slots] * idle,
        ]
        lengths, slots = torch.tensor(about).to(x.device)
        self._graphs("prefill", self._run, [x, lengths, slots])

    def _run(self, x: Tensor, lengths: Tensor, slots: Tensor) -> tuple[Tensor]:
        pool, (rows, width, _) = self._pool, x.shape
        layers: list[AttentionState | MambaState] = []
        for kind in pool.kinds:
            if kind == "full_attention":
                layers.append(AttentionState(pool.kv.new_zeros(rows, *pool.kv.shape[2:4], width, pool.kv.shape[5])))
            else:
                conv = pool.conv.new_zeros(rows, pool.conv.shape[2] - 1, pool.conv.shape[3])
                layers.append(MambaState(conv, x.new_zeros(rows, *pool.ssm.shape[2:], dtype=torch.float32)))
        state = DecodeState(layers, pool.cos[:width], pool.sin[:width], pool.frequencies)
        self._lm(x, state, lengths)
        pool.store(slots, state, lengths)
        return (lengths,)
