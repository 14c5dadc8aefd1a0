"""What the Mamba layers cost: students against an all-attention one that is trained exactly like them, beyond the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.distill.log import read_log
from mamtra.errors import MamTraError
from mamtra.paper.results import made_by, show_made_by
from mamtra.paper.rows import COSTS, TEACHER, cost_of, read_rows, show_rows
from mamtra.paper.runs import Run, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import Study
from mamtra.paper.utterances import keep_utterances
from mamtra.runtime.results import markdown_table

CONTROL = "1:0"
_AGAINST = {CONTROL: CONTROL, "the teacher": TEACHER}
NOTE = """1:0 keeps attention in every layer. It begins as the teacher itself and is trained like the students below it: the same
steps, data, token noise and losses. How they differ from it is the cost of their Mamba layers; how it differs from the teacher is
the effect of the training."""


def groups(settings: ExperimentSettings) -> dict[tuple[str, str], list[Run]]:
    """By training and row: the teacher, the control, and the plans.

    Raises:
        MamTraError: a plan is not "STRATEGY RATIO".
    """
    found = {}
    for training, chosen in settings.control.items():
        evaluation = {"evaluation": chosen.evaluation}
        found[training, TEACHER] = [teacher_run(settings, seed, **evaluation) for seed in chosen.seeds]
        for plan in (f"block-beg {CONTROL}", *chosen.plans):
            strategy, _, ratio = plan.partition(" ")
            found[training, CONTROL if ratio == CONTROL else f"{ratio} {strategy}"] = [
                student_run(settings, strategy, ratio, seed=seed, changes=chosen.changes, **evaluation)
                for seed in chosen.seeds
            ]
    return found


def _find(settings: ExperimentSettings, work: Path) -> dict[str, Any]:
    """A row for every student that is trained, and a table of the scored ones for every training whose control is among them.

    Raises:
        MamTraError: none is trained.
    """
    wanted, rows, scored, kept = groups(settings), [], [], {}
    for training in settings.control:
        members = {row: runs for (name, row), runs in wanted.items() if name == training}
        about = {row: {"training": training, "row": row, **cost_of(runs[0], work)} for row, runs in members.items()}
        rows += [about[row] | end for row, runs in members.items() for run in runs if (end := _end(run, work))]
        try:
            scored += [about[row["row"]] | row for row in read_rows(members, work, _AGAINST)]
        except MamTraError:  # neither teacher nor control is measured yet
            continue
        kept[training] = keep_utterances(members, work)
    if not rows:
        raise MamTraError(f"{work} holds no finished training of this study.")
    return {**made_by("control", settings, wanted, work), "rows": rows, "scored": scored, "utterances": kept}


def _end(run: Run, work: Path) -> dict[str, Any]:
    """Cross entropies of the student and of the teacher on the validation set when the training ended; empty if it has not."""
    if run.config is None or not (work / run.name / "training").is_dir():
        return {}
    log = {line["kind"]: line for line in read_log(work / run.name / "training")}
    if "end" not in log or log.get("validation", {}).get("step") != log["end"]["step"]:
        return {}
    found = {name: log["validation"][name] for name in ("ce", "teacher_ce")}
    if "ce" in log.get("train", {}):
        found["train_ce"] = log["train"]["ce"]
    return {"steps": log["end"]["step"], "seed": run.seed, **found}


def _page(found: dict[str, Any]) -> str:
    parts = [NOTE]
    for training in found["settings"]["control"]:
        rows, scored = ([row for row in found[part] if row["training"] == training] for part in ("rows", "scored"))
        if rows:
            parts.append(f"## {training}\n\n{_ends(rows)}")
            parts += [show_rows(scored, _AGAINST, COSTS)] if scored else []
    return "\n\n".join([*parts, *([show_made_by(found)] if found["scored"] else [])])


def _ends(rows: list[dict[str, Any]]) -> str:
    """Cross entropy when the training ended, and the range of the seeds; differences are within a seed."""
    control = {row["seed"]: row["ce"] for row in rows if row["row"] == CONTROL}
    lines = []
    for title in dict.fromkeys(row["row"] for row in rows):
        members = [row for row in rows if row["row"] == title]
        against = [row["ce"] - control[row["seed"]] for row in members if row["seed"] in control and title != CONTROL]
        lines.append(
            (
                title, *(members[0][column] for column in COSTS), f"{members[0]['steps']:,}",
                ", ".join(str(row["seed"]) for row in members),
                *(_spread([row[name] for row in members if name in row]) for name in ("train_ce", "ce")),
                _spread(against), _spread([row["ce"] - row["teacher_ce"] for row in members]),
            )
        )  # fmt: skip
    heads = ("last training batches", "validation set", f"minus {CONTROL}", "minus the teacher")
    table = markdown_table(("", *COSTS, "steps", "seeds", *heads), lines)
    return f"Cross entropy at the end of the training, of sequences that fit its buckets; mean (lowest to highest seed):\n\n{table}"


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{sum(values) / len(values):.3f}" + (f" ({min(values):.3f} to {max(values):.3f})" if values[1:] else "")


STUDY = Study("control", "Control: the cost of the Mamba layers", _find, _page, groups=groups)
