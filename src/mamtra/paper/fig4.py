"""Figure 4: cross entropy and word error rate of every strategy at every ratio, with equal training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.distill.models import open_speech_lm, plan_student
from mamtra.paper.results import Figure, finished, made_by, rank_correlation, show_made_by
from mamtra.paper.runs import Run, student_run, teacher_run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.study import Study
from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import markdown_table

HEADS = {"ce": ("Cross entropy per speech token (nats) on the validation set", 3), "wer": ("WER, %", 1)}
BABBLE, INTELLIGIBLE = 90.0, 30.0
"""WER in percent: above the one nothing is understood, below the other most is."""
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
            {
                "strategy": strategy,
                "ratio": ratio,
                "attention": _attention(wanted[strategy, ratio][0], work),
                "steps": measured.steps,
                **measured.contents(names),
            }
            for (strategy, ratio), measured in students.items()
        ],
        "missing": [" ".join(plan) for plan in wanted if plan and plan not in students],
        **made_by("fig4", settings, wanted, work),
        "rows": [
            {"strategy": plan[0], "ratio": plan[1], **measured.columns(("ce", "wer", "cer"))}
            for plan, measured in students.items()
        ],
    }
    return data


def _attention(run: Run, work: Path) -> list[int]:
    """The layers that keep attention."""
    config = run.training(work / run.name)
    return list(plan_student(config.student, open_speech_lm(config.teacher.model).config).attention_layers)


def _figures(found: dict[str, Any], name: str) -> dict[Plan, Figure]:
    return {(run["strategy"], run["ratio"]): Figure.read(run[name]) for run in found["runs"] if name in run}


def _page(found: dict[str, Any]) -> str:
    parts = [_table(found, name) for name in found["teacher"]]
    return "\n\n".join(filter(None, [*parts, _correlation(found), _deciding_layer(found), show_made_by(found)]))


def _correlation(found: dict[str, Any]) -> str:
    """Whether cross entropy predicts WER: over all plans, and over those whose speech is intelligible."""
    scored = [(run["ce"]["value"], run["wer"]["value"]) for run in found["runs"] if "wer" in run]
    intelligible = [pair for pair in scored if pair[1] < INTELLIGIBLE]
    if len(scored) < 3:
        return ""
    text = f"Rank correlation of cross entropy and WER over {len(scored)} plans: {_rank(scored)}."
    if 2 < len(intelligible) < len(scored):
        babble = sum(wer > BABBLE for _, wer in scored)
        text += (
            f" {babble} of them babble (WER above {BABBLE:.0f}%), which raises it; over the {len(intelligible)} with a WER below "
            f"{INTELLIGIBLE:.0f}% it is {_rank(intelligible)}."
        )
    return text


def _rank(pairs: list[tuple[float, float]]) -> str:
    rho, (low, high) = rank_correlation(*zip(*pairs, strict=True))
    return f"{rho:.2f} [{low:.2f}, {high:.2f}]"


def _deciding_layer(found: dict[str, Any]) -> str:
    """A layer whose attention all plans of low WER keep and all others drop, if there is one: then the strategies differ in
    little else."""
    plans = [
        (set(run["attention"]), run["wer"]["value"]) for run in found["runs"] if "wer" in run and "attention" in run
    ]
    for layer in sorted(set().union(*(kept for kept, _ in plans))):
        with_it = [wer for kept, wer in plans if layer in kept]
        without = [wer for kept, wer in plans if layer not in kept]
        if without and max(with_it) < min(without):
            text = (
                f"One layer splits these plans: the {len(with_it)} that keep attention in layer {layer} have a WER of "
                f"{min(with_it):.1f} to {max(with_it):.1f}%, the {len(without)} that drop it {min(without):.1f} to "
                f"{max(without):.1f}%. All students have one teacher, so this may be a property of that teacher."
            )
            return text + _shifted(found)
    return ""


def _shifted(found: dict[str, Any]) -> str:
    """Block-end at 1:1 is block-beg moved by one layer."""
    beg, end = (
        next((run for run in found["runs"] if (run["strategy"], run["ratio"]) == (name, "1:1") and "wer" in run), None)
        for name in ("block-beg", "block-end")
    )
    if beg is None or end is None or [layer + 1 for layer in beg["attention"]] != end["attention"]:
        return ""
    return (
        f" Block-end at 1:1 is block-beg shifted by one layer: {end['wer']['value']:.1f}% instead of "
        f"{beg['wer']['value']:.1f}%."
    )


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
