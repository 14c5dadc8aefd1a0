"""Tables 3 and 4 and the variants of a training: rows of runs, compared with a baseline row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.paper.results import made_by, show_made_by
from mamtra.paper.rows import CONTEXT, COSTS, TEACHER, cost_of, read_rows, show_rows
from mamtra.paper.runs import Run, model_run, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings, OnePlanSettings
from mamtra.paper.study import Study

BASELINE = "baseline"
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
    return {**made_by("table4", settings, wanted, work), "rows": read_rows(wanted, work, _TABLE4)}


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
        rows += [about | row for row in read_rows(its_rows, work, _VARIANTS)]
    return {**made_by("variants", settings, wanted, work), "rows": rows}


def _variants_page(found: dict[str, Any]) -> str:
    studies: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        studies.setdefault((row["study"], row["plan"].split()[0]), []).append(row)
    pages = [f"## {study} ({plan})\n\n{show_rows(rows, _VARIANTS)}" for (study, plan), rows in studies.items()]
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
    found = read_rows(wanted, work, _TABLE3)
    rows = [{"row": row["row"], **cost_of(wanted[row["row"]][0], work), **row} for row in found]
    return {**made_by("table3", settings, wanted, work), "rows": rows}


def _table3_page(found: dict[str, Any]) -> str:
    note = f"GFLOPs: a prefill of {CONTEXT:,} tokens through the backbone, no head."
    return "\n\n".join([show_rows(found["rows"], _TABLE3, COSTS), note, show_made_by(found)])


TABLE3 = Study("table3", "Table 3: quality and cost", _find_table3, _table3_page, groups=table3_rows)
TABLE4 = Study(
    "table4",
    "Table 4: loss ablation",
    _find_table4,
    lambda found: f"{show_rows(found['rows'], _TABLE4)}\n\n{show_made_by(found)}",
    groups=table4_rows,
)
VARIANTS = Study("variants", "Variants of the training of a plan", _find_variants, _variants_page, groups=variants_rows)
