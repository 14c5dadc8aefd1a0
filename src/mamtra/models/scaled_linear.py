"""Linear maps whose weights are kept in eight bits, with one scale for each output, for decoding alone."""

from __future__ import annotations

from typing import get_args

import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.errors import MamTraError
from mamtra.models.language_model import LanguageModel
from mamtra.ops.decode_types import ScaledWeight, WeightType


class ScaledLinear(nn.Module):
    """`nn.Linear` with a `ScaledWeight`, which is widened at every call: for prefills, where that costs little.

    Args:
        linear: the map to take the place of.
        kind: of its weights.
    """

    def __init__(self, linear: nn.Linear, kind: WeightType) -> None:
        super().__init__()
        values, scale = ScaledWeight.of(linear.weight, kind)
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.bias = linear.bias

    @property
    def stored(self) -> ScaledWeight:
        """What is kept."""
        return ScaledWeight(self.values, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return F.linear(x, self.stored.wide(x.dtype), self.bias)


def scale_weights(lm: LanguageModel, kind: WeightType) -> None:
    """Put the matrices of all layers into eight bits, in place; tables, norms, convolutions and the head stay as they are.

    The model can neither be trained nor saved afterwards. One that was put into eight bits already stays as it is.

    Raises:
        MamTraError: there is no such kind.
    """
    if kind not in get_args(WeightType):
        raise MamTraError(f"There are no weights {kind!r}; use {' or '.join(get_args(WeightType))}.")
    parents = [module for module in lm.model.layers.modules() if type(module) is not nn.Linear]
    for module in parents:
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:  # freed before the next one is rounded
                setattr(module, name, ScaledLinear(child, kind))
