"""A layer plan from a ratio and strategy, a list of layers or a ranking file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mamtra.conversion.ranking_file import read_ranking
from mamtra.errors import MamTraError
from mamtra.models.plan import IMPORTANCE, LayerPlan

DEFAULT_STRATEGY = "block-beg"


def choose_plan(
    layers: int,
    ratio: str | None = None,
    strategy: str | None = None,
    attention: Sequence[int] | None = None,
    ranking: str | os.PathLike | None = None,
    *,
    default: LayerPlan | None = None,
) -> LayerPlan:
    """The plan that some choices describe.

    Args:
        layers: of the model.
        ratio: attention to Mamba layers, "T:M".
        strategy: placement, see `LayerPlan.from_ratio`; `DEFAULT_STRATEGY` when absent.
        attention: instead of all others, the layers that stay attention.
        ranking: file of `mamtra rank`, for the importance strategies.
        default: the plan where neither ratio nor attention is given.

    Raises:
        MamTraError: choices that contradict each other or the model, or none without a default.
    """
    if attention is not None:
        if (ratio, strategy, ranking) != (None, None, None):
            raise MamTraError("attention lists the layers itself; leave out ratio, strategy and ranking.")
        return LayerPlan.explicit(layers, attention)
    if ratio is None:
        if strategy is not None or ranking is not None:
            raise MamTraError("strategy and ranking need a ratio; add one, for example 1:3.")
        if default is None:
            raise MamTraError("Say which layers stay attention, with a ratio such as 1:3 or with attention 0,4,8.")
        return default
    strategy = strategy or DEFAULT_STRATEGY
    if ranking is None:
        return LayerPlan.from_ratio(layers, ratio, strategy)
    if strategy not in IMPORTANCE:
        raise MamTraError(f"A ranking goes with a strategy of {', '.join(IMPORTANCE)}, not with {strategy}.")
    return LayerPlan.from_ratio(layers, ratio, strategy, read_ranking(ranking))
