"""Which decode step a single sequence takes, chosen here and nowhere else: packed weights on a CPU, the model elsewhere.

Both give the same logits up to rounding and update the state in place. Batches on a GPU take `mamtra.engine.decode_step`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mamtra.engine.packed_step import PackedDecoder
from mamtra.models.language_model import LanguageModel
from mamtra.models.state import DecodeState

Step = Callable[[Tensor, DecodeState], Tensor]
"""From the embedded input (B, hidden_size) and the state, updated in place, to logits (B, ids)."""


def sequence_step(lm: LanguageModel) -> Step:
    """The step for single sequences; it may copy the weights, so later changes of the model need not reach it."""
    return PackedDecoder(lm) if lm.head_weight.device.type == "cpu" else lm.next_logits
