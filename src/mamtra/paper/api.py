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
    from mamtra.paper.study import Study


STUDIES = {
    "table1": ("strategies and ratios as layer plans", "mamtra.paper.table1:STUDY"),
    "table2": ("growth of operations and memory of the mixers", "mamtra.paper.table2:STUDY"),
    "table3": ("quality and efficiency", "mamtra.paper.tables:TABLE3"),
    "table3-flops": ("the TFLOPs column of table 3", "mamtra.paper.table3_flops:STUDY"),
    "table4": ("loss ablation", "mamtra.paper.tables:TABLE4"),
    "variants": ("variants of a training, beyond the paper", "mamtra.paper.tables:VARIANTS"),
    "control": ("the cost of the Mamba layers, beyond the paper", "mamtra.paper.control:STUDY"),
    "fig3": ("GPU memory of an utterance by component", "mamtra.paper.fig3:STUDY"),
    "fig4": ("cross entropy and WER by strategy and ratio", "mamtra.paper.fig4:STUDY"),
    "fig5": ("cache by context", "mamtra.paper.fig5:STUDY"),
    "fig6": ("convergence with and without weight transfer", "mamtra.paper.fig6:STUDY"),
}
"""What each shows, and where its `mamtra.paper.study.Study` is, in the order of the paper."""
TRAINED = ("table3", "table4", "variants", "control", "fig4", "fig6")
"""Those that need training runs."""
MEASURED = ("fig3",)
"""Those that need a CUDA device."""


class Written(NamedTuple):
    """A result: its headline, its page of Markdown, its content as JSON, and the files it was written to."""

    title: str
    page: str
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
    render: bool = False,
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
        render: only write pages and figures again from the JSON files in `out`.
        listener: called after every stage of a run with the number of finished runs and their total.
        options: see `mamtra.paper.schedule.run_all`.

    Raises:
        MamTraError: an unknown name, missing or wrong settings, or runs that failed; finished ones are kept.
    """
    chosen = choose(names, trained=config is not None or render, rendered=render)
    out = Path(out)
    check_folder(out)
    inputs: tuple[Any, ...] = ()
    if config is not None and not render:
        from mamtra.paper.settings import read_experiments

        inputs = read_experiments(config, changes), Path(work) if work else out / "runs"
        if train:
            _train(runs_of_studies(chosen, inputs[0]), inputs[1], listener, options)
    found = {}
    for name in chosen:
        study, command = load_study(name), f"mamtra reproduce {name}"
        if study.groups:
            command += f" --config {config}" + "".join(f" --set {change}" for change in changes)
        content = study.read(out) if render else study.content(command, *(inputs if study.groups else ()))
        found[name] = Written(study.title, study.page(content), content, study.write(out, content))
    return found


def runs_of_studies(names: Sequence[str], settings: ExperimentSettings) -> list[Run]:
    """The training runs that some studies need, each once, those of the first seed first."""
    runs = {run.name: run for name in names for run in load_study(name).runs(settings)}
    return sorted(runs.values(), key=lambda run: run.seed)


def missing_inputs(runs: Sequence[Run]) -> list[str]:
    """What the training runs need and is not there yet, a phrase each."""
    from mamtra.data.token_shards import MANIFEST

    found: dict[str, None] = {}
    for content in filter(None, (run.config or run.reference for run in runs)):
        data, ranking = content["data"], content.get("student", {}).get("ranking")
        for name in ("train", "validation"):
            if isinstance(data.get(name), str) and not (Path(data[name]) / MANIFEST).is_file():
                found[f"no token shards in {data[name]} (data.{name}); make them with `mamtra prepare`"] = None
        if ranking is not None and not Path(ranking).is_file():
            found[f"no ranking {ranking}; make it with `mamtra rank`"] = None
    return list(found)


def load_study(name: str) -> Study:
    """The study of this name, of `STUDIES`."""
    module, _, attribute = STUDIES[name][1].partition(":")
    return getattr(importlib.import_module(module), attribute)


def choose(names: Sequence[str], *, trained: bool, rendered: bool = False) -> list[str]:
    """The studies to run, each once.

    Args:
        names: of `STUDIES`, or ``all``, which leaves out what this machine cannot measure.
        trained: whether there are settings for training runs.
        rendered: whether pages are only written again.

    Raises:
        MamTraError: an unknown name, or one that needs settings and has none.
    """
    for name in names:
        if name != "all" and name not in STUDIES:
            raise MamTraError(f"There is no {name!r} to reproduce; choose of {', '.join(STUDIES)}, all.")
        if name in TRAINED and not trained:
            raise MamTraError(
                f"{name} needs training runs; give their settings with --config, see docs/experiments.md."
            )
    if "all" in names:
        missing = set(() if trained else TRAINED) | set(() if rendered or _has_gpu() else MEASURED)
        return [name for name in STUDIES if name not in missing]
    return list(dict.fromkeys(names))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


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
            f"{len(failed)} of {len(runs)} training runs failed, the first: {failed[0].run}: {failed[0].why} "
            "The others are done; run the same command again to go on."
        )
