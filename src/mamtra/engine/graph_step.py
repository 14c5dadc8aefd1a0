"""Decode steps of many rows as one CUDA graph: on a GPU a thin model's step is bound by the host that launches its kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.models.language_model import LanguageModel
from mamtra.models.state import DecodeState, MambaState


class GraphedSteps:
    """`LanguageModel.next_logits` of one state, recorded once and played for every step.

    Attention looks at the whole room of the state under a mask, so that all steps have the same shapes; the numbers are those
    of `next_logits` up to rounding.

    Args:
        lm: the model, on a GPU.
        state: behind a prefill of right-padded rows; from here on it is moved by this object alone.
    """

    @torch.no_grad()
    def __init__(self, lm: LanguageModel, state: DecodeState) -> None:
        self._positions = state.positions.clone()
        weight = lm.head_weight
        self._input = weight.new_zeros(len(self._positions), weight.shape[1])
        memories = [t for layer in state.layers if isinstance(layer, MambaState) for t in (layer.conv, layer.ssm)]
        kept = [self._positions.clone(), *(memory.clone() for memory in memories)]

        def step() -> Tensor:
            state.length, state.positions = state.max_length - 1, self._positions
            logits = lm.next_logits(self._input, state)
            self._positions.add_(1)
            return logits

        side = torch.cuda.Stream(weight.device)
        side.wait_stream(torch.cuda.current_stream(weight.device))
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream(weight.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = step()
        # The keys and values that the trial left behind are written over by the first step, the memories are not.
        for place, value in zip((self._positions, *memories), kept, strict=True):
            place.copy_(value)

    def __call__(self, x: Tensor) -> Tensor:
        """One step.

        Args:
            x: (B, hidden_size), the embedded input.

        Returns:
            Logits (B, ids), a tensor of the caller's own.
        """
        self._input.copy_(x)
        self._graph.replay()
        return self._logits.clone()
