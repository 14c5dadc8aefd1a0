"""Tables and figures of the paper from Python: what `mamtra reproduce` does."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import check_folder

if TYPE_CHECKING:
    from mamtra.paper.runs import Run
    from mamtra.paper.schedule import Event
    from mamtra.paper.settings import ExperimentSettings
    from mamtra.paper.study import StudyResult


class Study(NamedTuple):
    """A table or figure.

    Attributes:
        shows: what it shows.
        function: ``module:function`` of its `StudyResult`, called without arguments, or with settings and folder of the runs.
        runs: ``module:function`` of the training runs it needs, called with the settings; None where it needs none.
    """

    shows: str
    function: str
    runs: str | None = None


STUDIES = {
    "table1": Study("strategies and ratios as layer plans", "mamtra.paper.table1:table1"),
    "table2": Study("growth of operations and memory of the mixers", "mamtra.paper.table2:table2"),
    "table3": Study("quality and efficiency", "mamtra.paper.tables:table3", "mamtra.paper.tables:table3_runs"),
    "table3-flops": Study("the TFLOPs column of table 3", "mamtra.paper.table3_flops:flops_column"),
    "table4": Study("loss ablation", "mamtra.paper.tables:table4", "mamtra.paper.tables:table4_runs"),
    "variants": Study(
        "variants of a training, beyond the paper", "mamtra.paper.tables:variants", "mamtra.paper.tables:variants_runs"
    ),
    "fig4": Study("cross entropy and WER by strategy and ratio", "mamtra.paper.fig4:study", "mamtra.paper.fig4:runs"),
    "fig5": Study("cache by context", "mamtra.paper.fig5:fig5"),
    "fig6": Study("convergence with and without weight transfer", "mamtra.paper.fig6:study", "mamtra.paper.fig6:runs"),
}
"""In the order of the paper. A study is added by a line here and a function in a module of this package."""


class Written(NamedTuple):
    """A result, its content as JSON, and the files it was written to."""

    result: StudyResult
    content: dict[str, Any]
    files: list[Path]


@checked
def reproduce(
    *names: str,
    out: str | os.PathLike = "results",
    config: str | os.PathLike | None = None,
    changes: Sequence[str] = (),
    work: str | os.PathLike | None = None,
    train: bool = True,
    listener: Callable[[Event, int, int], None] | None = None,
    **options: Any,
) -> dict[str, Written]:
    """Compute tables and figures, and write NAME.json, NAME.csv, NAME.md and, for figures, NAME.svg.

    Args:
        names: of `STUDIES`, or ``all``, which includes those with training runs only if there is a `config`.
        out: folder of the files.
        config: YAML file with the settings of the training runs.
        changes: ``key=value`` with dotted keys.
        work: folder of the training runs; ``runs`` in `out` by default.
        train: run what is not finished; otherwise only the finished runs are used.
        listener: called after every stage of a run with the number of finished runs and their total.
        options: see `mamtra.paper.schedule.run_all`.

    Raises:
        MamTraError: an unknown name, missing or wrong settings, or runs that failed; finished ones are kept.
    """
    chosen = choose(names, trained=config is not None)
    out = Path(out)
    check_folder(out)
    inputs: tuple[Any, ...] = ()
    if config is not None:
        from mamtra.paper.settings import read_experiments

        inputs = read_experiments(config, changes), Path(work) if work else out / "runs"
        if train:
            _train(runs_of_studies(chosen, inputs[0]), inputs[1], listener, options)
    found = {}
    for name in chosen:
        needs = STUDIES[name].runs is not None
        command = f"mamtra reproduce {name}"
        if needs:
            command += f" --config {config}" + "".join(f" --set {change}" for change in changes)
        result = _load(STUDIES[name].function)(*(inputs if needs else ()))
        files = result.write(out, command)
        found[name] = Written(result, result.content(command), files)
    return found


def runs_of_studies(names: Sequence[str], settings: ExperimentSettings) -> list[Run]:
    """The training runs that some studies need, each once, those of the first seed first."""
    needed = [STUDIES[name].runs for name in names if STUDIES[name].runs]
    runs = {run.name: run for function in needed for run in _load(function)(settings)}
    return sorted(runs.values(), key=lambda run: run.seed)


def choose(names: Sequence[str], *, trained: bool) -> list[str]:
    """The studies to run, each once.

    Args:
        names: of `STUDIES`, or ``all``.
        trained: whether there are settings for training runs.

    Raises:
        MamTraError: an unknown name, or one that needs settings and has none.
    """
    for name in names:
        if name != "all" and name not in STUDIES:
            raise MamTraError(f"There is no {name!r} to reproduce; choose of {', '.join(STUDIES)}, all.")
        if name != "all" and STUDIES[name].runs and not trained:
            raise MamTraError(
                f"{name} needs training runs; give their settings with --config, see docs/experiments.md."
            )
    if "all" in names:
        return [name for name, study in STUDIES.items() if trained or not study.runs]
    return list(dict.fromkeys(names))


def _train(
    runs: Sequence[Run], work: Path, listener: Callable[[Event, int, int], None] | None, options: dict[str, Any]
) -> None:
    from mamtra.paper.schedule import run_all
    from mamtra.paper.stages import next_stage

    failed = []
    for event in run_all(runs, work, **options):
        if listener is not None:
            listener(event, sum(next_stage(run, work / run.name) is None for run in runs), len(runs))
        failed += [event] if event.what == "failed" else []
    if failed:
        raise MamTraError(
            f"{len(failed)} of {len(runs)} trainings failed, the first: {failed[0].run}: {failed[0].why} "
            "The others are done; run the same command again to go on."
        )


def _load(place: str) -> Callable[..., Any]:
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)
