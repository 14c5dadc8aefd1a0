"""What the Mamba layers cost: students against an all-attention one that is trained exactly like them, beyond the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.paper.results import made_by, show_made_by
from mamtra.paper.rows import COSTS, TEACHER, cost_of, read_rows, show_rows
from mamtra.paper.runs import Run, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import Study
from mamtra.paper.utterances import keep_utterances

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
    """A table for every training whose teacher and control are finished.

    Raises:
        MamTraError: there is none.
    """
    wanted, rows, kept, missing = groups(settings), [], {}, []
    for training in settings.control:
        members = {row: runs for (name, row), runs in wanted.items() if name == training}
        try:
            found = read_rows(members, work, _AGAINST)
        except MamTraError:
            missing.append(training)
            continue
        rows += [{"training": training, **cost_of(members[row["row"]][0], work), **row} for row in found]
        kept[training] = keep_utterances(members, work)
    if not rows:
        raise MamTraError(f"{work} holds no finished control: teacher and 1:0 of one training are needed.")
    return {**made_by("control", settings, wanted, work), "missing": missing, "rows": rows, "utterances": kept}


def _page(found: dict[str, Any]) -> str:
    tables = [
        f"## {training}\n\n{show_rows([row for row in found['rows'] if row['training'] == training], _AGAINST, COSTS)}"
        for training in dict.fromkeys(row["training"] for row in found["rows"])
    ]
    missing = f"Not trained yet: {'; '.join(found['missing'])}." if found["missing"] else ""
    return "\n\n".join(filter(None, [NOTE, *tables, missing, show_made_by(found)]))


STUDY = Study("control", "Control: the cost of the Mamba layers", _find, _page, groups=groups)
