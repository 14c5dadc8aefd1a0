"""Tables whose rows are runs that differ in their seeds, compared with one or two of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.cost.flops import FlopConvention, prefill_flops
from mamtra.cost.shapes import blueprint_of
from mamtra.distill.models import open_speech_lm, plan_student
from mamtra.errors import MamTraError
from mamtra.paper.results import Figure, read_runs
from mamtra.paper.runs import Run
from mamtra.runtime.results import markdown_table

HEADS = {
    "ce": ("cross entropy", 3),
    "wer": ("WER %", 2),
    "cer": ("CER %", 2),
    "similarity_to_prompt": ("similarity to prompt", 3),
    "similarity_to_ground_truth": ("similarity to ground truth", 3),
    "mos": ("DistilMOS", 2),
}
COMPARED = ("ce", "wer")
TEACHER = "teacher"
CONTEXT = 2048
"""Tokens of the prefill whose operations are counted, as in the paper's Table 3."""
COSTS = ("attention layers", "GFLOPs")


def read_rows(wanted: dict[str, list[Run]], work: Path, against: dict[str, str]) -> list[dict[str, Any]]:
    """Figures of the finished rows, and what they differ by from those of `against`."""
    every = {title: read_runs(members, work) for title, members in wanted.items()}
    found = {title: measured for title, measured in every.items() if measured is not None}
    for base in against.values():
        if base not in found:
            raise MamTraError(f"The row {base!r}, which all others are compared with, is not finished.")
    first = found[next(iter(against.values()))]
    rows = []
    for title, measured in found.items():
        row: dict[str, Any] = {"row": title, **measured.columns(name for name in HEADS if name in first.pairs)}
        for base in against.values():
            for name in COMPARED:
                difference = measured.difference(name, found[base])
                if difference is not None:
                    row |= difference.columns(_difference_column(name, base, against))
        rows.append(row)
    return rows


def _difference_column(name: str, base: str, against: dict[str, str]) -> str:
    return f"{name}_difference" + ("" if base == next(iter(against.values())) else f"_{base}")


def show_rows(rows: list[dict[str, Any]], against: dict[str, str], more: Sequence[str] = ()) -> str:
    """The rows as Markdown.

    Args:
        rows: see `read_rows`.
        against: the rows that all others are compared with, by their names on the page.
        more: further columns.
    """
    by_title = {row["row"]: row for row in rows}
    first = by_title[next(iter(against.values()))]
    names = [name for name in HEADS if name in first]
    compared = [(name, called) for called in against for name in COMPARED if name in names]

    def cell(row: dict[str, Any], column: str, name: str) -> str:
        figure = Figure.of_columns(row, column)
        whole = first[f"{name}_of"] if column == name else None
        return "" if figure is None else figure.show(HEADS[name][1], whole)

    lines = [
        (
            row["row"],
            *(row[column] for column in more),
            row["steps"] or "",
            _seeds(row),
            *(cell(row, name, name) for name in names),
            *(
                ""
                if row["row"] == against[called]
                else cell(row, _difference_column(name, against[called], against), name)
                for name, called in compared
            ),
        )
        for row in rows
    ]
    heads = (*(HEADS[name][0] for name in names), *(f"{HEADS[name][0]} minus {called}" for name, called in compared))
    return markdown_table(("", *more, "steps", "seeds", *heads), lines)


def _seeds(row: dict[str, Any]) -> str:
    """The number of seeds, and of those that were scored if that is smaller."""
    trained, scored = row["ce_seeds"], row.get("wer_seeds", 0)
    return f"{trained} ({scored} scored)" if 0 < scored < trained else str(trained)


def cost_of(run: Run, work: Path) -> dict[str, Any]:
    """Attention layers and operations of a prefill."""
    if run.model is not None:
        stored = open_language_model(find_model(run.model))
        plan = stored.config.plan
    else:
        config = run.training(work / run.name)
        stored = open_speech_lm(config.teacher.model)
        plan = plan_student(config.student, stored.config)
    flops = prefill_flops(blueprint_of(stored.config, ""), plan, CONTEXT, FlopConvention()).total
    return dict(zip(COSTS, (len(plan.attention_layers), round(flops / 1e9, 2)), strict=True))
