"""Decode steps of many rows as one CUDA graph: on a GPU a thin model's step is bound by the host that launches its kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.models.language_model import LanguageModel
from mamtra.models.state import DecodeState, MambaState
from mamtra.runtime.cuda_graphs import GraphCache


class GraphedSteps:
    """`LanguageModel.next_logits` on one state, captured once and replayed for every step.

    Attention reads the whole capacity of the KV cache under a mask, so all steps have the same shapes; the numbers are those
    of `next_logits` up to rounding.

    Args:
        lm: the model, on a GPU.
        state: after a prefill of right-padded rows; from here on only this object may update it.
    """

    @torch.no_grad()
    def __init__(self, lm: LanguageModel, state: DecodeState) -> None:
        positions, weight = state.positions.clone(), lm.head_weight
        recurrent = [t for layer in state.layers if isinstance(layer, MambaState) for t in (layer.conv, layer.ssm)]

        def step(x: Tensor) -> tuple[Tensor]:
            state.length, state.positions = state.max_length - 1, positions
            logits = lm.next_logits(x, state)
            positions.add_(1)
            return (logits,)

        self._graphs = GraphCache(weight.device)
        blank = weight.new_zeros(len(positions), weight.shape[1])
        # The keys and values of the warm-up are overwritten by the first step, the recurrent states are not.
        self._graphs.capture("step", step, [blank], restore=[positions, *recurrent])

    def __call__(self, x: Tensor) -> Tensor:
        """Make one step.

        Args:
            x: (B, H) embedded inputs, in the type of the weights.

        Returns:
            (B, V) logits, a new tensor.
        """
        return self._graphs.replay("step", [x])[0]
