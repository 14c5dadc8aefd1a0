"""`mamtra reproduce`: the tables and figures of the paper, computed anew."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import typer

from mamtra.cli.evaluate import split_devices
from mamtra.errors import MamTraError


class Study(NamedTuple):
    """A table or figure.

    Attributes:
        shows: what it shows.
        function: gives its `StudyResult`, if there is one: without arguments, or from settings and folder of trainings.
        cells: gives the trainings that it rests on, from the settings.
    """

    shows: str
    function: str | None = None
    cells: str | None = None


STUDIES = {
    "table1": Study("strategies and ratios, drawn", "mamtra.paper.table1:table1"),
    "table2": Study("growth of operations and memory of the mixers", "mamtra.paper.table2:table2"),
    "table3": Study("quality and efficiency", "mamtra.paper.tables:table3", "mamtra.paper.tables:table3_cells"),
    "table3-flops": Study("the TFLOPs column of table 3", "mamtra.paper.table3_flops:flops_column"),
    "table4": Study("loss ablation", "mamtra.paper.tables:table4", "mamtra.paper.tables:table4_cells"),
    "variants": Study(
        "other trainings of one plan, beyond the paper",
        "mamtra.paper.tables:variants",
        "mamtra.paper.tables:variants_cells",
    ),
    "fig3": Study("memory of whole systems"),
    "fig4": Study("loss and word errors by strategy and ratio", "mamtra.paper.fig4:study", "mamtra.paper.fig4:cells"),
    "fig5": Study("cache by context", "mamtra.paper.fig5:fig5"),
    "fig6": Study("convergence with and without weight transfer", "mamtra.paper.fig6:study", "mamtra.paper.fig6:cells"),
}
"""In the order of the paper. A study is added by a line here and a function in a module below."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("reproduce", epilog="Example: mamtra reproduce table2 fig5 -o results")(reproduce)


def reproduce(
    names: list[str] | None = typer.Argument(
        None, metavar="[NAME...]", help="table1 ... fig6, or all; without a name they are listed.", show_default=False
    ),
    output: str = typer.Option("results", "-o", "--output", metavar="DIR", help="Folder for data, page and figure."),
    config: Path | None = typer.Option(
        None, "--config", metavar="FILE.yaml", help="Settings of the trainings behind table3, table4, fig4, fig6."
    ),
    changes: list[str] = typer.Option(
        None, "--set", metavar="KEY=VALUE", help="Change a setting, such as distill.run.steps=100; may be repeated."
    ),
    work: Path | None = typer.Option(
        None, "--work", metavar="DIR", help="Folder of the trainings, shared by all studies; cells in -o by default."
    ),
    side_by_side: int = typer.Option(1, "--side-by-side", min=1, help="Trainings that share the device."),
    listeners: int = typer.Option(
        1, "--listeners", min=0, help="Processes that transcribe what students say; 0 leaves that to a later run."
    ),
    device: str | None = typer.Option(
        None, "--device", metavar="D[,D...]", help="Devices that trainings, speech and listeners take in turn."
    ),
    keep: bool = typer.Option(False, "--keep-students", help="Keep the trained students, not their figures alone."),
    as_is: bool = typer.Option(False, "--as-is", help="Train nothing; show what the finished trainings give."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only list the trainings, and which are done."),
    as_json: bool = typer.Option(False, "--json", help="Print the data as JSON, by name."),
) -> None:
    """Compute tables and figures of the MamTra paper anew: NAME.json, NAME.csv, NAME.md and, for figures, NAME.svg.

    Those with trainings behind them need --config; an interrupted run goes on where it stopped.
    """
    if not names:
        _list(as_json)
        return
    chosen = _choose(names, trained=config is not None)
    directory = Path(output)
    if directory.exists() and not directory.is_dir():
        raise MamTraError(f"{output} is a file; name a folder with -o.")
    missing = [name for name in STUDIES if name not in chosen]
    if "all" in names and missing:
        print(f"Left out: {', '.join(missing)}.", file=sys.stderr)
    trainings: tuple[Any, ...] = ()
    if config is not None:
        from mamtra.paper.settings import read_experiments

        trainings = read_experiments(config, changes or ()), work or directory / "cells"
        options = {"side_by_side": side_by_side, "listeners": listeners, "keep": keep}
        options["devices"] = split_devices(device) or (None,)
        if not as_is and not _make_cells(
            [name for name in chosen if STUDIES[name].cells], *trainings, dry_run=dry_run, **options
        ):
            return
    found = {}
    for name in chosen:
        needs = bool(STUDIES[name].cells)
        command = f"mamtra reproduce {name}" + (f" --config {config}" if needs else "")
        command += "".join(f" --set {change}" for change in changes or ()) if needs else ""
        result = _load(STUDIES[name].function)(*(trainings if needs else ()))
        files = result.write(directory, command)
        found[name] = result.content(command) | {"files": [str(file) for file in files]}
        if not as_json:
            print(f"# {result.title}\n\n{result.page}\n")
            print(f"{name}: {', '.join(map(str, files))}", file=sys.stderr)
    if as_json:
        print(json.dumps(found))


def _list(as_json: bool) -> None:
    if as_json:
        rows = {
            name: {"shows": study.shows, "available": study.function is not None} for name, study in STUDIES.items()
        }
        print(json.dumps(rows))
        return
    for name, study in STUDIES.items():
        print(f"{name:<14}{study.shows}{'' if study.function else ' (not in this version)'}")


def _choose(names: list[str], *, trained: bool) -> list[str]:
    """The studies to run, each once; "all" takes those with trainings only where there are settings for them.

    Raises:
        MamTraError: an unknown name, one without a function, or one that needs settings and has none.
    """
    available = [name for name, study in STUDIES.items() if study.function]
    for name in names:
        if name == "all":
            continue
        if name not in STUDIES:
            raise MamTraError(f"There is no {name!r} to reproduce; choose of {', '.join(STUDIES)}, all.")
        if name not in available:
            raise MamTraError(f"{name} cannot be reproduced by this version; it has {', '.join(available)}.")
        if STUDIES[name].cells and not trained:
            raise MamTraError(f"{name} rests on trainings; give their settings with --config, see docs/experiments.md.")
    if "all" in names:
        return [name for name in available if trained or not STUDIES[name].cells]
    return list(dict.fromkeys(names))


def _make_cells(names: list[str], settings: Any, work: Path, *, dry_run: bool, **options: Any) -> bool:
    """Train and hear what the studies need.

    Returns:
        Whether the studies can be computed: not after a dry run.

    Raises:
        MamTraError: some trainings failed; the others are done and stay.
    """
    from mamtra.paper.schedule import run_cells
    from mamtra.paper.stages import next_stage

    cells = list({cell.name: cell for name in names for cell in _load(STUDIES[name].cells)(settings)}.values())
    cells.sort(key=lambda cell: cell.seed)  # every row has one result before any has a second
    if dry_run:
        for cell in cells:
            print(f"{'done' if next_stage(cell, work / cell.name) is None else 'to do':<7}{cell.name}")
        return False
    failed = []
    for event in run_cells(cells, work, **options):
        done = sum(next_stage(cell, work / cell.name) is None for cell in cells)
        print(f"{done}/{len(cells)}  {event.cell} {event.what} {event.why}".rstrip(), file=sys.stderr, flush=True)
        failed += [event] if event.what == "failed" else []
    if failed:
        raise MamTraError(
            f"{len(failed)} of {len(cells)} trainings failed, the first: {failed[0].cell}: {failed[0].why} "
            "The others are done; run the same command again to go on."
        )
    return True


def _load(place: str) -> Callable[..., Any]:
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)
