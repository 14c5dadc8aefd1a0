"""Figure 4: cross entropy and word error rate of every strategy at every ratio, with equal training."""

from __future__ import annotations

from pathlib import Path

from mamtra.paper.results import Measured, finished, made_by, rank_correlation, show_made_by
from mamtra.paper.runs import Run, runs_of, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import StudyResult, markdown_table
from mamtra.runtime.plotting import STYLE

TITLE = "Figure 4: strategies and ratios with equal training"
Plan = tuple[str, str]


def groups(settings: ExperimentSettings) -> dict[Plan | None, list[Run]]:
    """Runs by strategy and ratio, one per seed; the teacher under None."""
    grid = settings.fig4
    found: dict[Plan | None, list[Run]] = {None: [teacher_run(settings, seed) for seed in grid.seeds]}
    for strategy in grid.strategies:
        for ratio in grid.ratios:
            seeds = grid.seeds + tuple(s for s in grid.more_seeds.get(f"{strategy} {ratio}", ()) if s not in grid.seeds)
            found[strategy, ratio] = [
                student_run(settings, strategy, ratio, seed=seed, changes=grid.changes) for seed in seeds
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
    teacher, students = finished(wanted, work)
    rows = [
        {"strategy": plan[0], "ratio": plan[1], **measured.columns(("ce", "wer", "cer"))}
        for plan, measured in students.items()
    ]
    names = [name for name in ("ce", "wer") if name in teacher.pairs]
    data = {
        "teacher": {name: teacher.figure(name).content() for name in names},
        "runs": [
            {"strategy": s, "ratio": r, "steps": m.steps, **{n: m.figure(n).content() for n in names if n in m.pairs}}
            for (s, r), m in students.items()
        ],
        "missing": [" ".join(plan) for plan in wanted if plan and plan not in students],
        **made_by(runs(settings), work),
        "settings": settings.model_dump(mode="json", include={"distill", "transfer", "evaluation", "fig4"}),
        "rows": rows,
    }
    page = [_table(settings, students, teacher, name) for name in names]
    scored = [m for m in students.values() if "wer" in m.pairs]
    if len(scored) > 2:
        ce, wer = ([m.figure(name).value for m in scored] for name in ("ce", "wer"))
        rho, (low, high) = rank_correlation(ce, wer)
        data["rank_correlation"] = {"value": rho, "ci95": [low, high], "plans": len(scored)}
        page.append(
            f"Rank correlation of cross entropy and WER over {len(scored)} plans: {rho:.2f} [{low:.2f}, {high:.2f}]."
        )
    page.append(show_made_by(data))
    return StudyResult("fig4", TITLE, data, rows, "\n\n".join(page), lambda path: _draw(students, teacher, names, path))


def _table(settings: ExperimentSettings, found: dict[Plan, Measured], teacher: Measured, name: str) -> str:
    grid, digits = settings.fig4, 3 if name == "ce" else 1
    title = {
        "ce": "Cross entropy per speech token (nats) on the validation set",
        "wer": "WER, %",
    }[name]
    figures = {plan: figure for plan, m in found.items() if (figure := m.figure(name)) is not None}
    whole = teacher.figure(name).count
    best = {r: min((f.value for (_, ratio), f in figures.items() if ratio == r), default=0.0) for r in grid.ratios}

    def cell(strategy: str, ratio: str) -> str:
        figure = figures.get((strategy, ratio))
        if figure is None:
            return ""
        shown = figure.show(digits, whole)
        return f"**{shown}**" if figure.value == best[ratio] else shown

    rows = [(s, *(cell(s, r) for r in grid.ratios)) for s in grid.strategies]
    return f"{title}; the teacher: {teacher.figure(name).show(digits)}\n\n" + markdown_table(("", *grid.ratios), rows)


def _draw(found: dict[Plan, Measured], teacher: Measured, names: list[str], path: Path) -> None:
    """One panel a figure, ratios side by side, strategies as lines with intervals."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    strategies, ratios = (list(dict.fromkeys(plan[i] for plan in found)) for i in (0, 1))
    with rc_context(STYLE):
        canvas = Canvas(figsize=(4.8 * len(names), 4.2), layout="constrained")
        for axes, name in zip(canvas.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for place, strategy in enumerate(strategies):
                there = [i for i, r in enumerate(ratios) if (strategy, r) in found and name in found[strategy, r].pairs]
                figures = [found[strategy, ratios[i]].figure(name) for i in there]
                at = [i + (place - len(strategies) / 2) * 0.05 for i in there]
                values = [f.value for f in figures]
                spread = [[f.value - f.low for f in figures], [f.high - f.value for f in figures]]
                axes.errorbar(at, values, spread, label=strategy, marker="o", markersize=3, linewidth=1, elinewidth=0.6)
            axes.axhline(teacher.figure(name).value, color="#555555", linewidth=0.8, linestyle=":", label="teacher")
            axes.set_xticks(range(len(ratios)), ratios)
            axes.set(xlabel="attention : Mamba", ylabel={"ce": "cross entropy per speech token", "wer": "WER, %"}[name])
            if name == "wer":
                axes.set_yscale("log")
            axes.grid(color="#dddddd", linewidth=0.5, axis="y")
            axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
        canvas.savefig(path, format="svg", metadata={"Date": None})
