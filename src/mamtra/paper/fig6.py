"""Figure 6: convergence of one plan whose new layers are initialised from attention weights, or randomly."""

from __future__ import annotations

from pathlib import Path

from mamtra.paper.results import Measured, finished, made_by, show_made_by
from mamtra.paper.runs import Run, runs_of, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import StudyResult, markdown_table
from mamtra.runtime.plotting import STYLE

HEADS = {"ce": ("cross entropy", 3), "wer": ("WER %", 1), "cer": ("CER %", 1)}
TITLE = "Figure 6: weight transfer against random initialisation"


def groups(settings: ExperimentSettings) -> dict[str | None, list[Run]]:
    """Runs by initialisation, one per seed; the teacher under None."""
    chosen = settings.fig6
    found: dict[str | None, list[Run]] = {None: [teacher_run(settings, evaluation=chosen.evaluation)]}
    for init in chosen.inits:
        found[init] = [
            student_run(
                settings,
                chosen.strategy,
                chosen.ratio,
                seed=seed,
                transfer={"init": init},
                changes=chosen.changes,
                evaluation=chosen.evaluation,
            )
            for seed in chosen.seeds
        ]
    return found


def runs(settings: ExperimentSettings) -> list[Run]:
    """All runs of the figure."""
    return runs_of(groups(settings))


def study(settings: ExperimentSettings, work: Path) -> StudyResult:
    """The figure from the finished runs.

    Raises:
        MamTraError: none is, or the teacher is not.
    """
    wanted = groups(settings)
    teacher, found = finished(wanted, work)
    names = [name for name in HEADS if all(name in measured.pairs for measured in found.values())]
    (start, first), *_ = found.items()
    rows = [{"init": init, **measured.columns(names)} for init, measured in found.items()]
    table = markdown_table(
        ("initialisation", *(HEADS[n][0] for n in names), *(f"{HEADS[n][0]} minus {start}" for n in names)),
        [
            (
                init,
                *(measured.figure(n).show(HEADS[n][1], first.figure(n).count) for n in names),
                *("" if measured is first else measured.difference(n, first).show(HEADS[n][1]) for n in names),
            )
            for init, measured in found.items()
        ],
    )
    curves = {init: [list(point) for point in measured.curve] for init, measured in found.items()}
    steps = sorted({step for curve in curves.values() for step, _ in curve})
    by_step = {init: dict(measured.curve) for init, measured in found.items()}
    progress = markdown_table(
        ("step", *found), [(s, *(f"{by_step[i][s]:.3f}" if s in by_step[i] else "" for i in found)) for s in steps]
    )
    data = {
        "initialisations": {i: {name: m.figure(name).content() for name in names} for i, m in found.items()},
        "teacher": {name: teacher.figure(name).content() for name in names},
        "missing": [init for init in wanted if init and init not in found],
        "curves": curves,
        **made_by(runs(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "evaluation", "fig6"}),
        "rows": rows,
    }
    page = "\n\n".join([
        table,
        "Cross entropy per speech token (nats) on the validation set during training (first seed); the teacher: "
        + teacher.figure("ce").show(3),
        progress,
        show_made_by(data),
    ])  # fmt: skip
    return StudyResult("fig6", TITLE, data, rows, page, lambda path: _draw(found, teacher, path))


def _draw(found: dict[str, Measured], teacher: Measured, path: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    with rc_context(STYLE):
        canvas = Canvas(figsize=(5.6, 4.0), layout="constrained")
        axes = canvas.add_subplot()
        for init, measured in found.items():
            axes.plot(*zip(*measured.curve, strict=True), label=init, marker="o", markersize=3, linewidth=1)
        axes.axhline(teacher.figure("ce").value, color="#555555", linewidth=0.8, linestyle=":", label="teacher")
        axes.set(xlabel="steps", ylabel="cross entropy per speech token, validation")
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
        canvas.savefig(path, format="svg", metadata={"Date": None})
