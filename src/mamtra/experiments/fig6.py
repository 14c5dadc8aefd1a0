"""Figure 6: convergence of one plan whose new layers begin as attention's weights, or drawn anew."""

from __future__ import annotations

from pathlib import Path

from mamtra.analysis.study import StudyResult, markdown_table
from mamtra.experiments.cells import Cell, student_cell, teacher_cell
from mamtra.experiments.results import Measured, read_cells, stamp_of
from mamtra.experiments.settings import ExperimentSettings

TITLE = "Figure 6: what the weight transfer is worth"


def groups(settings: ExperimentSettings) -> dict[str | None, list[Cell]]:
    """Cells by beginning, one a seed; the teacher under None."""
    chosen = settings.fig6
    found: dict[str | None, list[Cell]] = {None: [teacher_cell(settings)]}
    for init in chosen.inits:
        found[init] = [
            student_cell(
                settings, chosen.strategy, chosen.ratio, seed=seed, transfer={"init": init}, changes=chosen.changes
            )
            for seed in chosen.seeds
        ]
    return found


def cells(settings: ExperimentSettings) -> list[Cell]:
    """All that the figure needs."""
    return [cell for members in groups(settings).values() for cell in members]


def study(settings: ExperimentSettings, work: Path) -> StudyResult:
    """The figure from cells that are done."""
    found = {init: read_cells(members, work) for init, members in groups(settings).items()}
    teacher = found.pop(None)
    names = [name for name in ("ce", "wer", "cer") if name in teacher.pairs]
    first = next(iter(found.values()))
    rows = []
    for init, measured in found.items():
        row: dict[str, object] = {"init": init, "steps": measured.steps, "without_sound": measured.without_sound}
        for name in names:
            figure = measured.figure(name)
            row |= {
                name: figure.value,
                f"{name}_low": figure.low,
                f"{name}_high": figure.high,
                "seeds": len(figure.seeds),
            }
        rows.append(row)
    table = markdown_table(
        (
            "beginning",
            *(_HEADS[name] for name in names),
            *(f"{_HEADS[name]}, less {next(iter(found))}" for name in names),
        ),
        [
            (
                init,
                *(measured.figure(name).show(_DIGITS[name]) for name in names),
                *("" if measured is first else measured.less(name, first).show(_DIGITS[name]) for name in names),
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
        "curves": curves,
        "heard_by": stamp_of(cells(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "listen", "fig6"}),
        "rows": rows,
    }
    page = "\n\n".join([
        table,
        "Nats a token on held-out utterances during the training (first seed); the teacher: " + teacher.figure("ce").show(3),
        course,
    ])  # fmt: skip
    return StudyResult("fig6", TITLE, data, rows, page, lambda path: _draw(found, teacher, path))


_HEADS = {"ce": "nats a token", "wer": "WER %", "cer": "CER %"}
_DIGITS = {"ce": 3, "wer": 1, "cer": 1}


def _draw(found: dict[str, Measured], teacher: Measured, path: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    with rc_context({"svg.hashsalt": "mamtra"}):
        canvas = Canvas(figsize=(5.6, 4.0), layout="constrained")
        axes = canvas.add_subplot()
        for init, measured in found.items():
            axes.plot(*zip(*measured.curve, strict=True), label=init, marker="o", markersize=3, linewidth=1)
        axes.axhline(teacher.figure("ce").value, color="#555555", linewidth=0.8, linestyle=":", label="teacher")
        axes.set(xlabel="steps", ylabel="nats a token, held out")
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
        canvas.savefig(path, metadata={"Date": None})
