"""Tables 3 and 4 and the variants of a training: rows of runs, compared with a baseline row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.cost.flops import FlopConvention, prefill_flops
from mamtra.cost.shapes import blueprint_of
from mamtra.distill.models import open_speech_lm, plan_student
from mamtra.errors import MamTraError
from mamtra.paper.results import Measured, made_by, read_runs, show_made_by
from mamtra.paper.runs import Run, model_run, runs_of, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings, OnePlanSettings
from mamtra.paper.study import StudyResult, markdown_table

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


def table4_rows(settings: ExperimentSettings) -> dict[str, list[Run]]:
    """Runs with all losses, then without one of them."""
    chosen = settings.table4
    choices: dict[str, dict[str, Any]] = {"all three": {}}
    choices |= {f"without {name}": {f"losses.{name}_weight": 0.0} for name in chosen.without}
    return {
        title: [_row_run(settings, chosen, seed, changes) for seed in chosen.seeds]
        for title, changes in choices.items()
    }


def table4_runs(settings: ExperimentSettings) -> list[Run]:
    """All runs of Table 4."""
    return runs_of(table4_rows(settings))


def table4(settings: ExperimentSettings, work: Path) -> StudyResult:
    """Table 4 from finished runs."""
    found = {title: read_runs(members, work) for title, members in table4_rows(settings).items()}
    rows, page = _rows(found, {"all three": "all three"}, {})
    data = {
        **made_by(table4_runs(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "evaluation", "table4"}),
        "rows": rows,
    }
    page += "\n\n" + show_made_by(data)
    return StudyResult("table4", "Table 4: loss ablation", data, rows, page)


def variants_rows(settings: ExperimentSettings) -> dict[str, dict[str, list[Run]]]:
    """By study: the teacher, the baseline training, and its variants."""
    found = {}
    for study, chosen in settings.variants.items():
        rows = {TEACHER: [teacher_run(settings, seed, evaluation=chosen.evaluation) for seed in chosen.seeds]}
        for title, changes in {BASELINE: {}, **chosen.variants}.items():
            rows[title] = [_row_run(settings, chosen, seed, changes) for seed in chosen.seeds]
        found[study] = rows
    return found


def variants_runs(settings: ExperimentSettings) -> list[Run]:
    """All runs of the variants."""
    return [run for rows in variants_rows(settings).values() for run in runs_of(rows)]


def variants(settings: ExperimentSettings, work: Path) -> StudyResult:
    """A table of variants for every study, from finished runs.

    Raises:
        MamTraError: the settings name no study, or the baseline row of one is not finished.
    """
    if not settings.variants:
        raise MamTraError("The settings name no variants.")
    rows, pages = [], []
    for study, wanted in variants_rows(settings).items():
        found = {title: read_runs(members, work) for title, members in wanted.items()}
        its_rows, page = _rows(found, {BASELINE: BASELINE, "the teacher": TEACHER}, {})
        chosen = settings.variants[study]
        rows += [{"study": study, "plan": f"{chosen.strategy} {chosen.ratio}", **row} for row in its_rows]
        pages.append(f"## {study} ({chosen.strategy})\n\n{page}")
    data = {
        **made_by(variants_runs(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "evaluation", "variants"}),
        "rows": rows,
    }
    pages.append(show_made_by(data))
    return StudyResult("variants", "Variants of the training of a plan", data, rows, "\n\n".join(pages))


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


def table3_runs(settings: ExperimentSettings) -> list[Run]:
    """All runs of Table 3."""
    return runs_of(table3_rows(settings))


def table3(settings: ExperimentSettings, work: Path) -> StudyResult:
    """Table 3 from finished runs."""
    wanted = table3_rows(settings)
    found = {title: read_runs(members, work) for title, members in wanted.items()}
    costs = {title: _cost(members[0], work) for title, members in wanted.items()}
    rows, page = _rows(found, {"the teacher": TEACHER}, costs)
    page += f"\n\nGFLOPs: a prefill of {CONTEXT:,} tokens through the backbone, no head."
    data = {
        **made_by(table3_runs(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "evaluation", "table3"}),
        "rows": rows,
    }
    page += "\n\n" + show_made_by(data)
    return StudyResult("table3", "Table 3: quality and cost", data, rows, page)


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
    return {"attention layers": len(plan.attention_layers), "GFLOPs": round(flops / 1e9, 2)}


def _rows(
    every: dict[str, Measured | None], against: dict[str, str], more: dict[str, dict[str, Any]]
) -> tuple[list[dict[str, Any]], str]:
    """Rows for CSV, and the page; `against` are the rows that all others are compared with, by their names on the page."""
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
                difference = measured.difference(name, found[base])
                key = f"{name}_difference" + ("" if found[base] is first else f"_{base}")
                if difference is not None:
                    row |= {key: difference.value, f"{key}_low": difference.low, f"{key}_high": difference.high}
                shown.append("" if difference is None or title == base else difference.show(HEADS[name][1]))
        rows.append(row)
        lines.append(shown)
    extra = next(iter(more.values()), {})
    compared = [f"{HEADS[name][0]} minus {called}" for called in against for name in judged]
    return rows, markdown_table(("", *extra, "steps", "seeds", *(HEADS[n][0] for n in names), *compared), lines)
