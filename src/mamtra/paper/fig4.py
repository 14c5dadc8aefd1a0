"""Figure 4: cross entropy and word error rate of every strategy at every ratio, with equal training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.paper.results import Figure, finished, made_by, rank_correlation, show_made_by
from mamtra.paper.runs import Run, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import Study
from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import markdown_table

HEADS = {"ce": ("Cross entropy per speech token (nats) on the validation set", 3), "wer": ("WER, %", 1)}
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


def _find(settings: ExperimentSettings, work: Path) -> dict[str, Any]:
    """The figure from the finished runs.

    Raises:
        MamTraError: none is, or the teacher is not.
    """
    wanted = groups(settings)
    teacher, students = finished(wanted, work)
    names = [name for name in HEADS if name in teacher.pairs]
    data = {
        "teacher": teacher.contents(names),
        "runs": [
            {"strategy": strategy, "ratio": ratio, "steps": measured.steps, **measured.contents(names)}
            for (strategy, ratio), measured in students.items()
        ],
        "missing": [" ".join(plan) for plan in wanted if plan and plan not in students],
        **made_by("fig4", settings, wanted, work),
        "rows": [
            {"strategy": plan[0], "ratio": plan[1], **measured.columns(("ce", "wer", "cer"))}
            for plan, measured in students.items()
        ],
    }
    scored = [measured for measured in students.values() if "wer" in measured.pairs]
    if len(scored) > 2:
        rho, (low, high) = rank_correlation(*([m.figure(name).value for m in scored] for name in ("ce", "wer")))
        data["rank_correlation"] = {"value": rho, "ci95": [low, high], "plans": len(scored)}
    return data


def _figures(found: dict[str, Any], name: str) -> dict[Plan, Figure]:
    return {(run["strategy"], run["ratio"]): Figure.read(run[name]) for run in found["runs"] if name in run}


def _page(found: dict[str, Any]) -> str:
    parts = [_table(found, name) for name in found["teacher"]]
    if "rank_correlation" in found:
        rank = found["rank_correlation"]
        parts.append(
            f"Rank correlation of cross entropy and WER over {rank['plans']} plans: "
            "{:.2f} [{:.2f}, {:.2f}].".format(rank["value"], *rank["ci95"])
        )
    return "\n\n".join([*parts, show_made_by(found)])


def _table(found: dict[str, Any], name: str) -> str:
    (title, digits), grid = HEADS[name], found["settings"]["fig4"]
    figures, teacher = _figures(found, name), Figure.read(found["teacher"][name])
    best = {r: min((f.value for (_, ratio), f in figures.items() if ratio == r), default=0.0) for r in grid["ratios"]}

    def cell(strategy: str, ratio: str) -> str:
        figure = figures.get((strategy, ratio))
        if figure is None:
            return ""
        shown = figure.show(digits, teacher.count)
        return f"**{shown}**" if figure.value == best[ratio] else shown

    rows = [(s, *(cell(s, r) for r in grid["ratios"])) for s in grid["strategies"]]
    return f"{title}; the teacher: {teacher.show(digits)}\n\n" + markdown_table(("", *grid["ratios"]), rows)


def _draw(found: dict[str, Any], path: Path) -> None:
    """One panel a figure, ratios side by side, strategies as lines with intervals."""
    names = list(found["teacher"])
    strategies, ratios = (list(dict.fromkeys(run[key] for run in found["runs"])) for key in ("strategy", "ratio"))
    with canvas(path, (4.8 * len(names), 4.2)) as picture:
        for axes, name in zip(picture.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            every = _figures(found, name)
            for place, strategy in enumerate(strategies):
                there = [i for i, ratio in enumerate(ratios) if (strategy, ratio) in every]
                figures = [every[strategy, ratios[i]] for i in there]
                at = [i + (place - len(strategies) / 2) * 0.05 for i in there]
                values = [f.value for f in figures]
                spread = [[f.value - f.low for f in figures], [f.high - f.value for f in figures]]
                axes.errorbar(at, values, spread, label=strategy, marker="o", markersize=3, linewidth=1, elinewidth=0.6)
            axes.axhline(
                found["teacher"][name]["value"], color="#555555", linewidth=0.8, linestyle=":", label="teacher"
            )
            axes.set_xticks(range(len(ratios)), ratios)
            axes.set(xlabel="attention : Mamba", ylabel={"ce": "cross entropy per speech token", "wer": "WER, %"}[name])
            if name == "wer":
                axes.set_yscale("log")
            axes.grid(color="#dddddd", linewidth=0.5, axis="y")
            axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)


STUDY = Study("fig4", "Figure 4: strategies and ratios with equal training", _find, _page, _draw, groups)
