"""Table 1 of the paper: the layer plan of every strategy at every ratio."""

from __future__ import annotations

from pathlib import Path

from mamtra.cost.layer_strip import strips_svg
from mamtra.models.plan import IMPORTANCE, STRATEGIES, LayerPlan
from mamtra.paper.study import StudyResult, markdown_table

LAYERS = 24
RATIOS = ("1:1", "1:3", "1:5", "1:11")
"""Published ratios of the paper."""

NOTES = """A is attention, M is Mamba. The importance strategies ({importance}) keep attention in as many layers, which a
ranking by `mamtra rank` names. The paper names its strategies without their pictures being available as text: that block-beg
puts attention first in each block follows from its reading of Zonos-v0.1; that front, middle, back and sandwich name the place
of the Mamba layers is this package's reading."""


def table1() -> StudyResult:
    """The layers of a 24-layer model under the strategies that need no ranking."""
    strategies = [name for name in STRATEGIES if name not in (*IMPORTANCE, "explicit")]
    plans = [LayerPlan.from_ratio(LAYERS, ratio, name) for name in strategies for ratio in RATIOS]
    title = f"Table 1: hybrid plans of {LAYERS} layers"
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
    table = markdown_table(
        ("strategy", "ratio", "layers", "attention", "Mamba"),
        ((r["strategy"], r["ratio"], f"`{r['layers']}`", r["attention"], r["mamba"]) for r in rows),
    )

    def draw(path: Path) -> None:
        path.write_text(strips_svg([(f"{p.strategy} {p.ratio}", p) for p in plans], title), encoding="utf-8")

    data = {"plans": [row | {"attention_layers": list(p.attention_layers)} for row, p in zip(rows, plans, strict=True)]}
    notes = NOTES.format(importance=", ".join(IMPORTANCE))
    return StudyResult("table1", title, data, rows, f"{table}\n\n{notes}", draw)
