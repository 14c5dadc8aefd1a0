"""Which layers keep attention and which become Mamba: the hybrid plans of MamTra (Table 1 of arXiv 2603.12342)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mamtra.errors import MamTraError

LayerType = Literal["full_attention", "linear_attention"]

STRATEGIES = (
    "block-beg",
    "block-end",
    "front",
    "middle",
    "back",
    "sandwich",
    "importance-cosine",
    "importance-wer",
    "explicit",
)


class LayerPlan(BaseModel):
    """The token mixer of every layer.

    Layer kinds are spelled as in transformers 5, so that ``layer_types`` can go into its configurations.

    Attributes:
        layer_types: ``"full_attention"`` or ``"linear_attention"`` (Mamba) for each layer.
        strategy: one of `STRATEGIES`.
        ratio: ``"T:M"``, Transformer to Mamba layers, or None for an explicit plan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer_types: tuple[LayerType, ...]
    strategy: str = "explicit"
    ratio: str | None = None

    @classmethod
    def from_ratio(
        cls, num_layers: int, ratio: str, strategy: str = "block-beg", ranking: Sequence[int] | None = None
    ) -> LayerPlan:
        """Place attention by a strategy.

        ``T:M`` means T attention layers in every T + M. Where the layers do not divide into such blocks, the incomplete
        block keeps up to T attention layers too, so that every strategy keeps the same number: 46 layers at 1:3 keep
        12.

        * ``block-beg``: attention comes first in each block (blocks counted from layer 0).
        * ``block-end``: attention comes last in each block (blocks counted from the last layer: the mirror image).
        * ``front``, ``back``: the Mamba layers are the first, the last ones.
        * ``middle``: the Mamba layers are one run between attention at both ends; an odd attention layer goes to the
        first end.
        * ``sandwich``: Mamba at both ends of one run of attention; an odd Mamba layer goes to the first end.
        * ``importance-cosine``, ``importance-wer``: attention stays in the layers that ``ranking`` names first.

        The text of the paper names the strategies without drawing them; only its reading of Zonos-v0.1 (attention at 0,
        4, 8, ...) as BlockBeg 1:3 is certain.

        Args:
            num_layers: layers of the model, at least 1.
            ratio: such as ``"1:3"``; ``"1:0"`` is all attention, ``"0:1"`` all Mamba.
            strategy: a member of `STRATEGIES` except ``"explicit"``.
            ranking: all layer indices, the most important first; for the importance strategies only.

        Raises:
            MamTraError: an impossible ratio, an unknown strategy, or a ranking that is missing or no permutation.
        """
        kept, block = _parse_ratio(ratio)
        if num_layers < 1:
            raise MamTraError(f"A plan needs at least 1 layer, not {num_layers}.")
        count = num_layers // block * kept + min(num_layers % block, kept)
        mamba = num_layers - count
        if strategy == "block-beg":
            attention: Iterable[int] = (i for i in range(num_layers) if i % block < kept)
        elif strategy == "block-end":
            attention = (num_layers - 1 - i for i in range(num_layers) if i % block < kept)
        elif strategy == "front":
            attention = range(mamba, num_layers)
        elif strategy == "back":
            attention = range(count)
        elif strategy == "middle":
            first = -(-count // 2)
            attention = (*range(first), *range(first + mamba, num_layers))
        elif strategy == "sandwich":
            first = -(-mamba // 2)
            attention = range(first, first + count)
        elif strategy in ("importance-cosine", "importance-wer"):
            if ranking is None or sorted(ranking) != list(range(num_layers)):
                raise MamTraError(
                    f"Strategy {strategy!r} needs a ranking of all {num_layers} layers, the most important first; "
                    "`mamtra rank` makes one."
                )
            attention = ranking[:count]
        else:
            raise MamTraError(f"There is no strategy {strategy!r}; choose one of {', '.join(STRATEGIES[:-1])}.")
        return cls(layer_types=_layer_types(num_layers, attention), strategy=strategy, ratio=ratio)

    @classmethod
    def explicit(cls, num_layers: int, attention_layers: Iterable[int]) -> LayerPlan:
        """Keep attention in exactly these layers.

        Raises:
            MamTraError: an index outside 0 .. num_layers - 1.
        """
        attention = sorted(set(attention_layers))
        if attention and not 0 <= attention[0] <= attention[-1] < num_layers:
            raise MamTraError(
                f"Attention layers {attention} do not fit a model of {num_layers} layers (0..{num_layers - 1})."
            )
        return cls(layer_types=_layer_types(num_layers, attention))

    @property
    def num_layers(self) -> int:
        """How many layers the plan has."""
        return len(self.layer_types)

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Indices of the attention layers, ascending."""
        return tuple(i for i, kind in enumerate(self.layer_types) if kind == "full_attention")

    @property
    def mamba_layers(self) -> tuple[int, ...]:
        """Indices of the Mamba layers, ascending."""
        return tuple(i for i, kind in enumerate(self.layer_types) if kind == "linear_attention")


def _layer_types(num_layers: int, attention: Iterable[int]) -> tuple[LayerType, ...]:
    kept = set(attention)
    return tuple("full_attention" if i in kept else "linear_attention" for i in range(num_layers))


def _parse_ratio(ratio: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", ratio)
    if match is None or int(match[1]) + int(match[2]) == 0:
        raise MamTraError(f"A ratio is written Transformer:Mamba, such as 1:3, not {ratio!r}.")
    return int(match[1]), int(match[1]) + int(match[2])
