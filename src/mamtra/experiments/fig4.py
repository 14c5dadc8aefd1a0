"""Figure 4: cross entropy and word errors of every strategy at every ratio, after the same training."""

from __future__ import annotations

from pathlib import Path

from mamtra.analysis.study import StudyResult, markdown_table
from mamtra.experiments.cells import Cell, student_cell, teacher_cell
from mamtra.experiments.results import Measured, rank_correlation, read_cells, stamp_of
from mamtra.experiments.settings import ExperimentSettings

TITLE = "Figure 4: strategies and ratios after the same training"
Plan = tuple[str, str]


def groups(settings: ExperimentSettings) -> dict[Plan | None, list[Cell]]:
    """Cells by strategy and ratio, one a seed; the teacher under None."""
    grid = settings.fig4
    found: dict[Plan | None, list[Cell]] = {None: [teacher_cell(settings)]}
    for strategy in grid.strategies:
        for ratio in grid.ratios:
            seeds = grid.seeds + tuple(s for s in grid.more_seeds.get(f"{strategy} {ratio}", ()) if s not in grid.seeds)
            found[strategy, ratio] = [
                student_cell(settings, strategy, ratio, seed=seed, changes=grid.changes) for seed in seeds
            ]
    return found


def cells(settings: ExperimentSettings) -> list[Cell]:
    """All that the figure needs."""
    return [cell for members in groups(settings).values() for cell in members]


def study(settings: ExperimentSettings, work: Path) -> StudyResult:
    """The figure from cells that are done."""
    found = {plan: read_cells(members, work) for plan, members in groups(settings).items()}
    teacher = found.pop(None)
    rows = [_row(plan, measured) for plan, measured in found.items()]
    names = [name for name in ("ce", "wer") if name in teacher.pairs]
    data = {
        "teacher": {name: teacher.figure(name).content() for name in names},
        "cells": [
            {"strategy": s, "ratio": r, "steps": m.steps, **{name: m.figure(name).content() for name in names}}
            for (s, r), m in found.items()
        ],
        "heard_by": stamp_of(cells(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "listen", "fig4"}),
        "rows": rows,
    }
    page = [_table(settings, found, teacher, name) for name in names]
    if "wer" in names:
        ce, wer = ([m.figure(name).value for m in found.values()] for name in ("ce", "wer"))
        rho, (low, high) = rank_correlation(ce, wer)
        data["rank_correlation"] = {"value": rho, "ci95": [low, high]}
        page.append(
            f"Rank correlation of cross entropy and word error rate over the plans: {rho:.2f} [{low:.2f}, {high:.2f}]."
        )
    return StudyResult("fig4", TITLE, data, rows, "\n\n".join(page), lambda path: _draw(found, teacher, names, path))


def _row(plan: Plan, measured: Measured) -> dict[str, object]:
    row: dict[str, object] = {"strategy": plan[0], "ratio": plan[1]}
    for name in ("ce", "wer", "cer"):
        figure = measured.figure(name)
        if figure is not None:
            row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
            row["seeds"] = len(figure.seeds)
    return row | {"without_sound": measured.without_sound, "steps": measured.steps}


def _table(settings: ExperimentSettings, found: dict[Plan, Measured], teacher: Measured, name: str) -> str:
    grid, digits = settings.fig4, 3 if name == "ce" else 1
    title = {
        "ce": "Cross entropy, nats a speech token on held-out utterances",
        "wer": "Word error rate, %",
    }[name]
    best = {r: min(found[s, r].figure(name).value for s in grid.strategies) for r in grid.ratios}

    def cell(strategy: str, ratio: str) -> str:
        figure = found[strategy, ratio].figure(name)
        shown = figure.show(digits)
        return f"**{shown}**" if figure.value == best[ratio] else shown

    rows = [(s, *(cell(s, r) for r in grid.ratios)) for s in grid.strategies]
    return f"{title}; the teacher: {teacher.figure(name).show(digits)}\n\n" + markdown_table(("", *grid.ratios), rows)


def _draw(found: dict[Plan, Measured], teacher: Measured, names: list[str], path: Path) -> None:
    """One panel a figure, ratios side by side, strategies as lines with intervals."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    strategies, ratios = (list(dict.fromkeys(plan[i] for plan in found)) for i in (0, 1))
    with rc_context({"svg.hashsalt": "mamtra"}):
        canvas = Canvas(figsize=(4.8 * len(names), 4.2), layout="constrained")
        for axes, name in zip(canvas.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for place, strategy in enumerate(strategies):
                figures = [found[strategy, ratio].figure(name) for ratio in ratios]
                at = [i + (place - len(strategies) / 2) * 0.05 for i in range(len(ratios))]
                values = [f.value for f in figures]
                spread = [[f.value - f.low for f in figures], [f.high - f.value for f in figures]]
                axes.errorbar(at, values, spread, label=strategy, marker="o", markersize=3, linewidth=1, elinewidth=0.6)
            axes.axhline(teacher.figure(name).value, color="#555555", linewidth=0.8, linestyle=":", label="teacher")
            axes.set_xticks(range(len(ratios)), ratios)
            axes.set(xlabel="attention : Mamba", ylabel={"ce": "nats a token", "wer": "word error rate, %"}[name])
            if name == "wer":
                axes.set_yscale("log")
            axes.grid(color="#dddddd", linewidth=0.5, axis="y")
            axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
        canvas.savefig(path, metadata={"Date": None})
