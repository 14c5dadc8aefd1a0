"""Figure 6: convergence of one plan whose new layers begin as attention's weights, or drawn anew."""

from __future__ import annotations

from pathlib import Path

from mamtra.paper.results import Measured, finished, made_by, show_made_by
from mamtra.paper.runs import Cell, cells_of, student_cell, teacher_cell
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import StudyResult, markdown_table
from mamtra.runtime.plotting import STYLE

HEADS = {"ce": ("nats a token", 3), "wer": ("WER %", 1), "cer": ("CER %", 1)}
TITLE = "Figure 6: what the weight transfer is worth"


def groups(settings: ExperimentSettings) -> dict[str | None, list[Cell]]:
    """Cells by beginning, one a seed; the teacher under None."""
    chosen = settings.fig6
    found: dict[str | None, list[Cell]] = {None: [teacher_cell(settings, listen=chosen.listen)]}
    for init in chosen.inits:
        found[init] = [
            student_cell(
                settings,
                chosen.strategy,
                chosen.ratio,
                seed=seed,
                transfer={"init": init},
                changes=chosen.changes,
                listen=chosen.listen,
            )
            for seed in chosen.seeds
        ]
    return found


def cells(settings: ExperimentSettings) -> list[Cell]:
    """All that the figure needs."""
    return cells_of(groups(settings))


def study(settings: ExperimentSettings, work: Path) -> StudyResult:
    """The figure from the cells that are done.

    Raises:
        MamTraError: none is, or the teacher is not.
    """
    wanted = groups(settings)
    teacher, found = finished(wanted, work)
    names = [name for name in HEADS if all(name in measured.pairs for measured in found.values())]
    (start, first), *_ = found.items()
    rows = [{"init": init, **measured.columns(names)} for init, measured in found.items()]
    table = markdown_table(
        ("beginning", *(HEADS[n][0] for n in names), *(f"{HEADS[n][0]}, less {start}" for n in names)),
        [
            (
                init,
                *(measured.figure(n).show(HEADS[n][1], first.figure(n).count) for n in names),
                *("" if measured is first else measured.less(n, first).show(HEADS[n][1]) for n in names),
            )
            for init, measured in found.items()
        ],
    )
    curves = {init: [list(point) for point in measured.curve] for init, measured in found.items()}
    steps = sorted({step for curve in curves.values() for step, _ in curve})
    by_step = {init: dict(measured.curve) for init, measured in found.items()}
    course = markdown_table(
        ("step", *found), [(s, *(f"{by_step[i][s]:.3f}" if s in by_step[i] else "" for i in found)) for s in steps]
    )
    data = {
        "beginnings": {i: {name: m.figure(name).content() for name in names} for i, m in found.items()},
        "teacher": {name: teacher.figure(name).content() for name in names},
        "missing": [init for init in wanted if init and init not in found],
        "curves": curves,
        **made_by(cells(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "listen", "fig6"}),
        "rows": rows,
    }
    page = "\n\n".join([
        table,
        "Nats a token on held-out utterances during the training (first seed); the teacher: " + teacher.figure("ce").show(3),
        course,
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
        axes.set(xlabel="steps", ylabel="nats a token, held out")
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
        canvas.savefig(path, format="svg", metadata={"Date": None})
