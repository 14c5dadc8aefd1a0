"""Table 1 of the paper: the layer plan of every strategy at every ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.cost.layer_strip import strips_svg
from mamtra.models.plan import IMPORTANCE, LayerPlan
from mamtra.paper.settings import STRATEGIES
from mamtra.paper.study import Study
from mamtra.runtime.files import write_text
from mamtra.runtime.results import markdown_table

LAYERS = 24
RATIOS = ("1:1", "1:3", "1:5", "1:11")
"""Published ratios of the paper."""
TITLE = f"Table 1: hybrid plans of {LAYERS} layers"

NOTES = """A is attention, M is Mamba. The importance strategies ({importance}) keep attention in as many layers, which a
ranking by `mamtra rank` names. The paper names its strategies without their pictures being available as text: that block-beg
puts attention first in each block follows from its reading of Zonos-v0.1; that front, middle, back and sandwich name the place
of the Mamba layers is this package's reading."""


def _find() -> dict[str, Any]:
    """The layers of a 24-layer model under the strategies that need no ranking."""
    strategies = [name for name in STRATEGIES if name not in IMPORTANCE]
    plans = [LayerPlan.from_ratio(LAYERS, ratio, name) for name in strategies for ratio in RATIOS]
    rows = [
        {
            "strategy": plan.strategy,
            "ratio": plan.ratio,
            "layers": plan.letters,
            "attention": len(plan.attention_layers),
            "mamba": len(plan.mamba_layers),
        }
        for plan in plans
    ]
    return {"rows": rows}


def _page(found: dict[str, Any]) -> str:
    table = markdown_table(
        ("strategy", "ratio", "layers", "attention", "Mamba"),
        ((r["strategy"], r["ratio"], f"`{r['layers']}`", r["attention"], r["mamba"]) for r in found["rows"]),
    )
    return f"{table}\n\n{NOTES.format(importance=', '.join(IMPORTANCE))}"


def _draw(found: dict[str, Any], path: Path) -> None:
    plans = [LayerPlan.from_ratio(LAYERS, row["ratio"], row["strategy"]) for row in found["rows"]]
    write_text(path, strips_svg([(f"{plan.strategy} {plan.ratio}", plan) for plan in plans], TITLE))


STUDY = Study("table1", TITLE, _find, _page, _draw)
