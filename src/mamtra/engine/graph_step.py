"""Decode steps of a batch as one captured CUDA graph: on a GPU a small model's step is bound by kernel launches."""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.models.language_model import LanguageModel
from mamtra.models.state import DecodeState, MambaState


class GraphedSteps:
    """`LanguageModel.next_logits` of one state, captured once and replayed for every step.

    Attention covers the whole capacity of the state under a mask, so that all steps have the same shapes; the logits are those
    of `next_logits` up to rounding.

    Args:
        lm: the model, on a GPU.
        state: after a prefill of right-padded rows; from here on only this object may update it.
    """

    @torch.no_grad()
    def __init__(self, lm: LanguageModel, state: DecodeState) -> None:
        self._positions = state.positions.clone()
        weight = lm.head_weight
        self._input = weight.new_zeros(len(self._positions), weight.shape[1])
        buffers = [t for layer in state.layers if isinstance(layer, MambaState) for t in (layer.conv, layer.ssm)]
        saved = [self._positions.clone(), *(buffer.clone() for buffer in buffers)]

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
        # The first step overwrites the keys and values of the warm-up run, but not the buffers of Mamba layers.
        for buffer, value in zip((self._positions, *buffers), saved, strict=True):
            buffer.copy_(value)

    def __call__(self, x: Tensor) -> Tensor:
        """One step.

        Args:
            x: (B, hidden_size), the embedded input.

        Returns:
            Logits (B, ids), a copy.
        """
        self._input.copy_(x)
        self._graph.replay()
        return self._logits.clone()
