"""Figure 6: convergence of one plan whose new layers are initialised from attention weights, or randomly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.paper.results import Figure, finished, made_by, show_made_by
from mamtra.paper.runs import Run, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import Study
from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import markdown_table

HEADS = {"ce": ("cross entropy", 3), "wer": ("WER %", 1), "cer": ("CER %", 1)}


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


def _find(settings: ExperimentSettings, work: Path) -> dict[str, Any]:
    """The figure from the finished runs.

    Raises:
        MamTraError: none is, or the teacher is not.
    """
    wanted = groups(settings)
    teacher, found = finished(wanted, work)
    names = [name for name in HEADS if all(name in measured.pairs for measured in found.values())]
    first, *others = found
    return {
        "initialisations": {init: measured.contents(names) for init, measured in found.items()},
        "differences": {
            init: {name: found[init].difference(name, found[first]).content() for name in names} for init in others
        },
        "teacher": teacher.contents(names),
        "missing": [init for init in wanted if init and init not in found],
        "curves": {init: [list(point) for point in measured.curve] for init, measured in found.items()},
        **made_by("fig6", settings, wanted, work),
        "rows": [{"init": init, **measured.columns(names)} for init, measured in found.items()],
    }


def _page(found: dict[str, Any]) -> str:
    every = found["initialisations"]
    first = next(iter(every))
    names = list(every[first])

    def show(content: dict[str, Any] | None, name: str) -> str:
        return "" if content is None else Figure.read(content).show(HEADS[name][1], every[first][name]["count"])

    heads = [HEADS[name][0] for name in names]
    table = markdown_table(
        ("initialisation", *heads, *(f"{head} minus {first}" for head in heads)),
        [
            (
                init,
                *(show(figures[name], name) for name in names),
                *(show(found["differences"].get(init, {}).get(name), name) for name in names),
            )
            for init, figures in every.items()
        ],
    )
    curves = {init: dict(map(tuple, curve)) for init, curve in found["curves"].items()}
    steps = sorted({step for curve in curves.values() for step in curve})
    progress = markdown_table(
        ("step", *curves),
        [(step, *(f"{curve[step]:.3f}" if step in curve else "" for curve in curves.values())) for step in steps],
    )
    return "\n\n".join([
        table,
        "Cross entropy per speech token (nats) on the validation set during training (first seed); the teacher: "
        + Figure.read(found["teacher"]["ce"]).show(3),
        progress,
        show_made_by(found),
    ])  # fmt: skip


def _draw(found: dict[str, Any], path: Path) -> None:
    with canvas(path, (5.6, 4.0)) as picture:
        axes = picture.add_subplot()
        for init, curve in found["curves"].items():
            axes.plot(*zip(*curve, strict=True), label=init, marker="o", markersize=3, linewidth=1)
        axes.axhline(found["teacher"]["ce"]["value"], color="#555555", linewidth=0.8, linestyle=":", label="teacher")
        axes.set(xlabel="steps", ylabel="cross entropy per speech token, validation")
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)


STUDY = Study("fig6", "Figure 6: weight transfer against random initialisation", _find, _page, _draw, groups)
