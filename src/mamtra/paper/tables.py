"""Tables 3 and 4 and the variants of a training: rows of runs, compared with a baseline row."""

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
from mamtra.paper.results import Figure, made_by, read_runs, show_made_by
from mamtra.paper.runs import Run, model_run, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings, OnePlanSettings
from mamtra.paper.study import Study
from mamtra.runtime.results import markdown_table

HEADS = {
    "ce": ("cross entropy", 3),
    "wer": ("WER %", 2),
    "cer": ("CER %", 2),
    "similarity_to_prompt": ("similarity to prompt", 3),
    "similarity_to_ground_truth": ("similarity to ground truth", 3),
    "mos": ("DistilMOS", 2),
}
CONTEXT = 2048
"""Tokens of the prefill whose operations Table 3 counts, as the paper's."""
TEACHER = "teacher"
BASELINE = "baseline"
COMPARED = ("ce", "wer")
_COSTS = ("attention layers", "GFLOPs")
_TABLE3 = {"the teacher": TEACHER}
_TABLE4 = {"all three": "all three"}
_VARIANTS = {BASELINE: BASELINE, "the teacher": TEACHER}


def table4_rows(settings: ExperimentSettings) -> dict[str, list[Run]]:
    """Runs with all losses, then without one of them."""
    chosen = settings.table4
    choices: dict[str, dict[str, Any]] = {"all three": {}}
    choices |= {f"without {name}": {f"losses.{name}_weight": 0.0} for name in chosen.without}
    return {
        title: [_row_run(settings, chosen, seed, changes) for seed in chosen.seeds]
        for title, changes in choices.items()
    }


def _find_table4(settings: ExperimentSettings, work: Path) -> dict[str, Any]:
    wanted = table4_rows(settings)
    return {**made_by("table4", settings, wanted, work), "rows": _rows(wanted, work, _TABLE4)}


def variants_rows(settings: ExperimentSettings) -> dict[tuple[str, str], list[Run]]:
    """By study and row: the teacher, the baseline training, and its variants."""
    found = {}
    for study, chosen in settings.variants.items():
        found[study, TEACHER] = [teacher_run(settings, seed, evaluation=chosen.evaluation) for seed in chosen.seeds]
        for title, changes in {BASELINE: {}, **chosen.variants}.items():
            found[study, title] = [_row_run(settings, chosen, seed, changes) for seed in chosen.seeds]
    return found


def _find_variants(settings: ExperimentSettings, work: Path) -> dict[str, Any]:
    """A table of variants for every study, from finished runs.

    Raises:
        MamTraError: the settings name no study, or the baseline row of one is not finished.
    """
    if not settings.variants:
        raise MamTraError("The settings name no variants.")
    wanted, rows = variants_rows(settings), []
    for study, chosen in settings.variants.items():
        its_rows = {title: members for (name, title), members in wanted.items() if name == study}
        about = {"study": study, "plan": f"{chosen.strategy} {chosen.ratio}"}
        rows += [about | row for row in _rows(its_rows, work, _VARIANTS)]
    return {**made_by("variants", settings, wanted, work), "rows": rows}


def _variants_page(found: dict[str, Any]) -> str:
    studies: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        studies.setdefault((row["study"], row["plan"].split()[0]), []).append(row)
    pages = [f"## {study} ({plan})\n\n{_table(rows, _VARIANTS)}" for (study, plan), rows in studies.items()]
    return "\n\n".join([*pages, show_made_by(found)])


def _row_run(settings: ExperimentSettings, chosen: OnePlanSettings, seed: int, changes: dict[str, Any]) -> Run:
    changes = {**chosen.changes, **changes}
    return student_run(
        settings, chosen.strategy, chosen.ratio, seed=seed, changes=changes, evaluation=chosen.evaluation
    )


def table3_rows(settings: ExperimentSettings) -> dict[str, list[Run]]:
    """The teacher, further models, then a row for every plan and fraction of the data.

    Raises:
        MamTraError: fractions and steps have different lengths, or a plan is not "STRATEGY RATIO".
    """
    chosen = settings.table3
    if len(chosen.fractions) != len(chosen.steps):
        raise MamTraError("table3.fractions and table3.steps need equally many entries.")
    evaluation = {"evaluation": chosen.evaluation}
    found = {TEACHER: [teacher_run(settings, seed, **evaluation) for seed in chosen.seeds]}
    for name, path in chosen.models.items():
        found[name] = [model_run(settings, path, seed, **evaluation) for seed in chosen.seeds]
    for plan in chosen.plans:
        strategy, _, ratio = plan.partition(" ")
        for at, (fraction, steps) in enumerate(zip(chosen.fractions, chosen.steps, strict=True)):
            changes = {**chosen.changes, "data.fraction": fraction, "run.steps": steps}
            longer = f", {steps:,} steps" if chosen.fractions.index(fraction) < at else ""
            found[f"{ratio} {strategy}, {100 * fraction:g}%{longer}"] = [
                student_run(settings, strategy, ratio, seed=seed, changes=changes, **evaluation)
                for seed in chosen.seeds
            ]
    return found


def _find_table3(settings: ExperimentSettings, work: Path) -> dict[str, Any]:
    wanted = table3_rows(settings)
    found = _rows(wanted, work, _TABLE3)
    rows = [{"row": row["row"], **_cost(wanted[row["row"]][0], work), **row} for row in found]
    return {**made_by("table3", settings, wanted, work), "rows": rows}


def _table3_page(found: dict[str, Any]) -> str:
    note = f"GFLOPs: a prefill of {CONTEXT:,} tokens through the backbone, no head."
    return "\n\n".join([_table(found["rows"], _TABLE3, _COSTS), note, show_made_by(found)])


def _cost(run: Run, work: Path) -> dict[str, Any]:
    """Attention layers and operations of a prefill."""
    if run.model is not None:
        stored = open_language_model(find_model(run.model))
        plan = stored.config.plan
    else:
        config = run.training(work / run.name)
        stored = open_speech_lm(config.teacher.model)
        plan = plan_student(config.student, stored.config)
    flops = prefill_flops(blueprint_of(stored.config, ""), plan, CONTEXT, FlopConvention()).total
    return dict(zip(_COSTS, (len(plan.attention_layers), round(flops / 1e9, 2)), strict=True))


def _rows(wanted: dict[str, list[Run]], work: Path, against: dict[str, str]) -> list[dict[str, Any]]:
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


def _table(rows: list[dict[str, Any]], against: dict[str, str], more: Sequence[str] = ()) -> str:
    """The rows as Markdown.

    Args:
        rows: see `_rows`.
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


TABLE3 = Study("table3", "Table 3: quality and cost", _find_table3, _table3_page, groups=table3_rows)
TABLE4 = Study(
    "table4",
    "Table 4: loss ablation",
    _find_table4,
    lambda found: f"{_table(found['rows'], _TABLE4)}\n\n{show_made_by(found)}",
    groups=table4_rows,
)
VARIANTS = Study("variants", "Variants of the training of a plan", _find_variants, _variants_page, groups=variants_rows)
