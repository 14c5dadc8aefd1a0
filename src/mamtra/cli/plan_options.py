"""A layer plan from the words of a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from mamtra.models.plan import LayerPlan

DEFAULT_STRATEGY = "block-beg"


def choose_plan(
    layers: int, ratio: str | None, strategy: str | None, attention: str | None, ranking: str | None
) -> LayerPlan:
    """The plan that the options describe.

    Args:
        layers: of the model.
        ratio: T:M.
        strategy: `DEFAULT_STRATEGY` when absent.
        attention: in place of all others, the layers that stay attention, between commas.
        ranking: file of `mamtra rank`, for the importance strategies.

    Raises:
        MamTraError: options that contradict each other or the model, or none.
    """
    from mamtra.models.plan import IMPORTANCE, LayerPlan

    if attention is not None:
        if (ratio, strategy, ranking) != (None, None, None):
            raise MamTraError("--attention lists the layers itself; leave out --ratio, --strategy and --ranking.")
        return LayerPlan.explicit(layers, read_indices(attention))
    if ratio is None:
        raise MamTraError("Say which layers stay attention, with --ratio T:M such as 1:3, or with --attention 0,4,8.")
    strategy = strategy or DEFAULT_STRATEGY
    if ranking is None:
        return LayerPlan.from_ratio(layers, ratio, strategy)
    if strategy not in IMPORTANCE:
        raise MamTraError(f"--ranking goes with a strategy of {', '.join(IMPORTANCE)}, not with {strategy}.")
    from mamtra.conversion.ranking_file import read_ranking

    return LayerPlan.from_ratio(layers, ratio, strategy, read_ranking(ranking))


def read_indices(text: str) -> list[int]:
    """Layer numbers between commas.

    Raises:
        MamTraError: it reads otherwise.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise MamTraError(f"--attention takes layer numbers between commas, such as 0,4,8, not {text!r}.")
    return [int(word) for word in words]
