"""Tables 3 and 4, and variants of a training: rows of cells against a row that they are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.cost.flops import FlopConvention, prefill_flops
from mamtra.cost.shapes import blueprint_of
from mamtra.distill.setup import open_speech_lm, plan_student
from mamtra.errors import MamTraError
from mamtra.paper.results import Measured, made_by, read_cells, show_made_by
from mamtra.paper.runs import Cell, cells_of, model_cell, student_cell, teacher_cell
from mamtra.paper.settings import ExperimentSettings, OnePlanSettings
from mamtra.paper.study import StudyResult, markdown_table

HEADS = {
    "ce": ("nats a token", 3),
    "wer": ("WER %", 2),
    "cer": ("CER %", 2),
    "similarity_to_prompt": ("similarity to prompt", 3),
    "similarity_to_ground_truth": ("similarity to truth", 3),
    "mos": ("DistilMOS", 2),
}
CONTEXT = 2048
"""Tokens of the prefill whose operations Table 3 counts, as the paper's."""
TEACHER = "teacher"
AS_IT_IS = "as it is"


def table4_rows(settings: ExperimentSettings) -> dict[str, list[Cell]]:
    """Cells with all losses, then without one of them."""
    chosen = settings.table4
    choices: dict[str, dict[str, Any]] = {"all three": {}}
    choices |= {f"without {name}": {f"losses.{name}_weight": 0.0} for name in chosen.without}
    return {
        title: [_row_cell(settings, chosen, seed, changes) for seed in chosen.seeds]
        for title, changes in choices.items()
    }


def table4_cells(settings: ExperimentSettings) -> list[Cell]:
    """All that Table 4 needs."""
    return cells_of(table4_rows(settings))


def table4(settings: ExperimentSettings, work: Path) -> StudyResult:
    """Table 4 from cells that are done."""
    found = {title: read_cells(members, work) for title, members in table4_rows(settings).items()}
    rows, page = _rows(found, {"the full loss": "all three"}, {})
    data = {
        **made_by(table4_cells(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "listen", "table4"}),
        "rows": rows,
    }
    page += "\n\n" + show_made_by(data)
    return StudyResult("table4", "Table 4: what each loss is worth", data, rows, page)


def variants_rows(settings: ExperimentSettings) -> dict[str, dict[str, list[Cell]]]:
    """By study, the teacher, cells with the training as it is, then with every variant of it."""
    found = {}
    for study, chosen in settings.variants.items():
        rows = {TEACHER: [teacher_cell(settings, seed, listen=chosen.listen) for seed in chosen.seeds]}
        for title, changes in {AS_IT_IS: {}, **chosen.variants}.items():
            rows[title] = [_row_cell(settings, chosen, seed, changes) for seed in chosen.seeds]
        found[study] = rows
    return found


def variants_cells(settings: ExperimentSettings) -> list[Cell]:
    """All that the tables of variants need."""
    return [cell for rows in variants_rows(settings).values() for cell in cells_of(rows)]


def variants(settings: ExperimentSettings, work: Path) -> StudyResult:
    """A table of variants for every study, from cells that are done.

    Raises:
        MamTraError: the settings name no study, or one lacks the row that its others are compared with.
    """
    if not settings.variants:
        raise MamTraError("The settings name no variants.")
    rows, pages = [], []
    for study, wanted in variants_rows(settings).items():
        found = {title: read_cells(members, work) for title, members in wanted.items()}
        its_rows, page = _rows(found, {AS_IT_IS: AS_IT_IS, "the teacher": TEACHER}, {})
        chosen = settings.variants[study]
        rows += [{"study": study, "plan": f"{chosen.strategy} {chosen.ratio}", **row} for row in its_rows]
        pages.append(f"## {study} ({chosen.strategy})\n\n{page}")
    data = {
        **made_by(variants_cells(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "listen", "variants"}),
        "rows": rows,
    }
    pages.append(show_made_by(data))
    return StudyResult("variants", "Other trainings of a plan", data, rows, "\n\n".join(pages))


def _row_cell(settings: ExperimentSettings, chosen: OnePlanSettings, seed: int, changes: dict[str, Any]) -> Cell:
    changes = {**chosen.changes, **changes}
    return student_cell(settings, chosen.strategy, chosen.ratio, seed=seed, changes=changes, listen=chosen.listen)


def table3_rows(settings: ExperimentSettings) -> dict[str, list[Cell]]:
    """The teacher, models as they are, then a row for every plan and share of the data.

    Raises:
        MamTraError: shares and steps do not fit together, or a plan is not "STRATEGY RATIO".
    """
    chosen = settings.table3
    if len(chosen.shares) != len(chosen.steps):
        raise MamTraError("table3.shares and table3.steps need equally many entries.")
    heard = {"listen": chosen.listen}
    found = {TEACHER: [teacher_cell(settings, seed, **heard) for seed in chosen.seeds]}
    for name, path in chosen.models.items():
        found[name] = [model_cell(settings, path, seed, **heard) for seed in chosen.seeds]
    for plan in chosen.plans:
        strategy, _, ratio = plan.partition(" ")
        for at, (share, steps) in enumerate(zip(chosen.shares, chosen.steps, strict=True)):
            changes = {**chosen.changes, "data.share": share, "run.steps": steps}
            longer = f", {steps:,} steps" if chosen.shares.index(share) < at else ""
            found[f"{ratio} {strategy}, {100 * share:g}%{longer}"] = [
                student_cell(settings, strategy, ratio, seed=seed, changes=changes, **heard) for seed in chosen.seeds
            ]
    return found


def table3_cells(settings: ExperimentSettings) -> list[Cell]:
    """All that Table 3 needs."""
    return cells_of(table3_rows(settings))


def table3(settings: ExperimentSettings, work: Path) -> StudyResult:
    """Table 3 from cells that are done."""
    wanted = table3_rows(settings)
    found = {title: read_cells(members, work) for title, members in wanted.items()}
    costs = {title: _cost(members[0], work) for title, members in wanted.items()}
    rows, page = _rows(found, {"the teacher": TEACHER}, costs)
    page += f"\n\nGFLOPs: a prefill of {CONTEXT:,} tokens through the backbone, no head."
    data = {
        **made_by(table3_cells(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "listen", "table3"}),
        "rows": rows,
    }
    page += "\n\n" + show_made_by(data)
    return StudyResult("table3", "Table 3: quality and cost", data, rows, page)


def _cost(cell: Cell, work: Path) -> dict[str, Any]:
    """Attention layers and operations of a prefill."""
    if cell.model is not None:
        stored = open_language_model(find_model(cell.model))
        plan = stored.config.plan
    else:
        config = cell.training(work / cell.name)
        stored = open_speech_lm(config.teacher.model)
        plan = plan_student(config.student, stored.config)
    flops = prefill_flops(blueprint_of(stored.config, ""), plan, CONTEXT, FlopConvention()).total
    return {"attention layers": len(plan.attention_layers), "GFLOPs": round(flops / 1e9, 2)}


def _rows(
    every: dict[str, Measured | None], against: dict[str, str], more: dict[str, dict[str, Any]]
) -> tuple[list[dict[str, Any]], str]:
    """Rows for CSV, and the page; `against` has the rows that all are compared with, by how the page calls them."""
    found = {title: measured for title, measured in every.items() if measured is not None}
    for base in against.values():
        if base not in found:
            raise MamTraError(f"The row {base!r}, which all others are compared with, is not finished.")
    first = found[next(iter(against.values()))]
    names = [name for name in HEADS if name in first.pairs]
    judged = [name for name in ("ce", "wer") if name in names]
    rows, lines = [], []
    for title, measured in found.items():
        row: dict[str, Any] = {"row": title, **more.get(title, {}), **measured.columns(names)}
        shown = [title, *more.get(title, {}).values(), measured.steps or "", measured.show_seeds()]
        for name in names:
            figure = measured.figure(name)
            shown.append("" if figure is None else figure.show(HEADS[name][1], first.figure(name).count))
        for base in against.values():
            for name in judged:
                less = measured.less(name, found[base])
                key = f"{name}_less" + ("" if found[base] is first else f"_{base}")
                if less is not None:
                    row |= {key: less.value, f"{key}_low": less.low, f"{key}_high": less.high}
                shown.append("" if less is None or title == base else less.show(HEADS[name][1]))
        rows.append(row)
        lines.append(shown)
    extra = next(iter(more.values()), {})
    compared = [f"{HEADS[name][0]}, less {called}" for called in against for name in judged]
    return rows, markdown_table(("", *extra, "steps", "seeds", *(HEADS[n][0] for n in names), *compared), lines)
