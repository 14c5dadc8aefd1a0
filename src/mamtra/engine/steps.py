"""Which decode step a model takes, chosen here and nowhere else.

| device | one sequence | a batch of rows of different lengths |
|---|---|---|
| CPU | packed copy of the weights | eager |
| CUDA | eager | captured CUDA graph of this batch's state |
| other | eager | eager |

Eager is `LanguageModel.next_logits`. All give the same logits up to rounding and update the state in place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from mamtra.engine.graph_step import GraphedSteps
from mamtra.engine.packed_step import PackedDecoder
from mamtra.models.language_model import LanguageModel
from mamtra.models.state import DecodeState

Step = Callable[[Tensor, DecodeState], Tensor]
"""From the embedded input (B, hidden_size) and the state, updated in place, to logits (B, ids)."""


def sequence_step(lm: LanguageModel) -> Step:
    """The step for single sequences; it may copy the weights, so later changes of the model need not reach it."""
    return PackedDecoder(lm) if lm.head_weight.device.type == "cpu" else lm.next_logits


def batch_step(lm: LanguageModel, state: DecodeState) -> Callable[[Tensor], Tensor]:
    """The step for the right-padded rows that were prefilled into `state`, which from then on belongs to the step."""
    return GraphedSteps(lm, state) if lm.head_weight.is_cuda else partial(lm.next_logits, state=state)
