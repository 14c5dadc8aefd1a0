"""Which layers keep attention and which become Mamba: the hybrid plans of MamTra (Table 1 of arXiv 2603.12342)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import model_validator

from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.strict_models import ClosedModel

LayerType = Literal["full_attention", "linear_attention"]

IMPORTANCE = ("importance-cosine", "importance-wer", "importance-kl")
STRATEGIES = ("block-beg", "block-end", "front", "middle", "back", "sandwich", "block-beg+1", *IMPORTANCE, "explicit")
LETTERS: dict[str, LayerType] = {"A": "full_attention", "M": "linear_attention"}
"""Layer kinds as `str` writes them."""


class LayerPlan(ClosedModel):
    """The token mixer of every layer.

    Layer kinds are spelled as in transformers 5, so that ``layer_types`` can go into its configurations. `str` writes a
    plan in one line that `parse` reads: ``"AMMMAMMM block-beg 1:3"``. Plans are equal where layers, strategy and ratio
    are; JSON is that of pydantic (``model_dump_json``, ``model_validate_json``).

    Attributes:
        layer_types: ``"full_attention"`` or ``"linear_attention"`` (Mamba) for each layer.
        strategy: one of `STRATEGIES`; the layers are those that it places.
        ratio: ``"T:M"``, Transformer to Mamba layers, or None for an explicit plan.
    """

    layer_types: tuple[LayerType, ...]
    strategy: str = "explicit"
    ratio: str | None = None

    @model_validator(mode="after")
    def _is_what_it_says(self) -> LayerPlan:
        _check_origin(self.layer_types, self.strategy, self.ratio)
        return self

    @classmethod
    @checked
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
        * ``block-beg+1``: block-beg moved by one layer; what would lie behind the last layer becomes the first.
        * ``importance-cosine``, ``importance-wer``, ``importance-kl``: attention stays in the layers that ``ranking``
        names first; the name tells by which criterion they were ranked.

        The text of the paper names the strategies without drawing them; only its reading of Zonos-v0.1 (attention at 0,
        4, 8, ...) as BlockBeg 1:3 is certain. ``block-beg+1`` and ``importance-kl`` are not in the paper.

        Args:
            num_layers: layers of the model, at least 1.
            ratio: such as ``"1:3"``; ``"1:0"`` is all attention, ``"0:1"`` all Mamba.
            strategy: a member of `STRATEGIES` except ``"explicit"``.
            ranking: all layer indices, the most important first; for the importance strategies only.

        Raises:
            MamTraError: a ratio that cannot be read or whose blocks are longer than the model, an unknown strategy, or
                a ranking that is missing or no permutation.
        """
        kept, mamba = _parse_ratio(ratio)
        _check_depth(num_layers)
        if strategy in IMPORTANCE:
            if ranking is None or sorted(ranking) != list(range(num_layers)):
                raise MamTraError(
                    f"Strategy {strategy!r} needs a ranking of all {num_layers} layers, the most important first; "
                    "`mamtra rank` makes one."
                )
            attention: Iterable[int] = ranking[: _attention_count(num_layers, kept, mamba)]
        else:
            attention = _place(num_layers, kept, mamba, strategy)
        return cls(layer_types=_layer_types(num_layers, attention), strategy=strategy, ratio=f"{kept}:{mamba}")

    @classmethod
    @checked
    def explicit(cls, num_layers: int, attention_layers: Iterable[int]) -> LayerPlan:
        """Keep attention in exactly these layers.

        Raises:
            MamTraError: an index outside 0 .. num_layers - 1.
        """
        _check_depth(num_layers)
        attention = sorted(set(attention_layers))
        if attention and not 0 <= attention[0] <= attention[-1] < num_layers:
            raise MamTraError(
                f"Attention layers {attention} do not fit a model of {num_layers} layers (0..{num_layers - 1})."
            )
        return cls(layer_types=_layer_types(num_layers, attention))

    @classmethod
    @checked
    def parse(cls, text: str) -> LayerPlan:
        """Read what `str` wrote.

        Args:
            text: one letter a layer, A for attention and M for Mamba, such as ``"AMMMAMMM"``; behind it, where the plan
                is not an explicit one, its strategy and ratio.

        Raises:
            MamTraError: it reads otherwise, or the strategy would not place the layers so.
        """
        match = re.fullmatch(r"\s*([AM]+)(?:\s+(\S+)\s+(\S+))?\s*", text)
        if match is None:
            raise MamTraError(
                "A plan is written with A for attention and M for Mamba, such as AMMMAMMM or 'AMMMAMMM block-beg 1:3', "
                f"not {text!r}."
            )
        letters, strategy, ratio = match.groups()
        layer_types = tuple(LETTERS[letter] for letter in letters)
        if strategy is None:
            return cls(layer_types=layer_types)
        ratio = ":".join(map(str, _parse_ratio(ratio)))
        _check_origin(layer_types, strategy, ratio)  # as a MamTraError; the validator's would be wrapped by pydantic
        return cls(layer_types=layer_types, strategy=strategy, ratio=ratio)

    def __str__(self) -> str:
        origin = [] if self.ratio is None else [self.strategy, self.ratio]
        return " ".join([self.letters, *origin])

    def __repr__(self) -> str:
        return f"LayerPlan.parse({str(self)!r})"

    @property
    def letters(self) -> str:
        """One letter a layer, A for attention and M for Mamba."""
        return "".join("A" if kind == "full_attention" else "M" for kind in self.layer_types)

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


def _check_depth(num_layers: int) -> None:
    if num_layers < 1:
        raise MamTraError(f"A plan needs at least 1 layer, not {num_layers}.")


def _attention_count(num_layers: int, kept: int, mamba: int) -> int:
    """Attention layers of a ratio ``kept:mamba``.

    Raises:
        MamTraError: not even one block fits.
    """
    block = kept + mamba
    if kept and mamba and block > num_layers:
        raise MamTraError(
            f"Ratio {kept}:{mamba} needs at least {block} layers, but there are {num_layers}; choose a smaller ratio."
        )
    return num_layers // block * kept + min(num_layers % block, kept)


def _place(num_layers: int, kept: int, mamba: int, strategy: str) -> Iterable[int]:
    """Attention layers of the strategies that need no ranking."""
    count = _attention_count(num_layers, kept, mamba)
    replaced = num_layers - count
    in_blocks = (i for i in range(num_layers) if i % (kept + mamba) < kept)
    if strategy == "block-beg":
        return in_blocks
    if strategy == "block-beg+1":
        return ((i + 1) % num_layers for i in in_blocks)
    if strategy == "block-end":
        return (num_layers - 1 - i for i in in_blocks)
    if strategy == "front":
        return range(replaced, num_layers)
    if strategy == "back":
        return range(count)
    if strategy == "middle":
        first = -(-count // 2)
        return (*range(first), *range(first + replaced, num_layers))
    if strategy == "sandwich":
        first = -(-replaced // 2)
        return range(first, first + count)
    raise MamTraError(f"There is no strategy {strategy!r}; choose one of {', '.join(STRATEGIES[:-1])}.")


def _check_origin(layer_types: Sequence[LayerType], strategy: str, ratio: str | None) -> None:
    """Refuse a strategy and ratio that do not lead to these layers.

    Raises:
        MamTraError: they do not.
    """
    if strategy == "explicit" and ratio is None:
        return
    if strategy == "explicit" or ratio is None:
        raise MamTraError("An explicit plan has no ratio, and any other plan has one.")
    kept, mamba = _parse_ratio(ratio)
    if strategy in IMPORTANCE:
        fits = layer_types.count("full_attention") == _attention_count(len(layer_types), kept, mamba)
    else:
        placed = _place(len(layer_types), kept, mamba, strategy)
        fits = tuple(layer_types) == _layer_types(len(layer_types), placed)
    if not fits:
        raise MamTraError(f"These {len(layer_types)} layers are not what strategy {strategy!r} at ratio {ratio} gives.")


def _parse_ratio(ratio: str) -> tuple[int, int]:
    """Attention and Mamba layers of a block."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\d{1,9})\s*", ratio, re.ASCII)
    if match is None or int(match[1]) + int(match[2]) == 0:
        raise MamTraError(f"A ratio is written Transformer:Mamba, such as 1:3, not {ratio!r}.")
    return int(match[1]), int(match[2])
