"""`mamtra reproduce`: compute the tables and figures of the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mamtra.cli.evaluate import split_devices
from mamtra.cli.options import Json, refuse_ignored
from mamtra.cli.tell import tell
from mamtra.errors import MamTraError
from mamtra.paper import api
from mamtra.paper.api import STUDIES

if TYPE_CHECKING:
    from mamtra.paper.schedule import Event

_OF_RUNS = ("changes", "work", "side_by_side", "scorers", "device", "keep", "finished", "dry_run")
"""Parameters that concern training runs."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("reproduce", epilog="Example: mamtra reproduce table2 fig5 -o results")(reproduce)


def reproduce(
    ctx: typer.Context,
    names: list[str] | None = typer.Argument(
        None, metavar="[NAME...]", help="table1 ... fig6, or all; without a name they are listed.", show_default=False
    ),
    output: str = typer.Option("results", "-o", "--output", metavar="DIR", help="Folder for data, page and figure."),
    config: Path | None = typer.Option(
        None, metavar="FILE.yaml", help="Settings of the training runs of table3, table4, fig4, fig6."
    ),
    changes: list[str] = typer.Option(
        None, "--set", metavar="KEY=VALUE", help="Change a setting, such as distill.run.steps=100; may be repeated."
    ),
    work: Path | None = typer.Option(
        None, metavar="DIR", help="Folder of the training runs, shared by all studies; runs in -o by default."
    ),
    side_by_side: int = typer.Option(1, min=1, help="Training runs that share the device."),
    scorers: int = typer.Option(
        1, min=0, help="Processes that score the speech of students; 0 leaves that to a later call."
    ),
    device: str | None = typer.Option(
        None, metavar="D[,D...]", help="Devices that training, synthesis and scoring take in turn."
    ),
    keep: bool = typer.Option(False, "--keep-students", help="Keep the weights of the trained students."),
    finished: bool = typer.Option(False, "--finished", help="Train nothing; use the runs that are finished."),
    render: bool = typer.Option(
        False, "--render", help="Only write pages and figures again from the JSON files in -o."
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Only list the training runs, which are finished, and what is missing."
    ),
    as_json: Json = False,
) -> None:
    """Compute tables and figures of the MamTra paper: NAME.json, NAME.csv, NAME.md and, for figures, NAME.svg.

    Those that need training runs need --config; the same command resumes an interrupted one.
    """
    if not names:
        _list(as_json)
        return
    if config is None:
        refuse_ignored(ctx, "without --config", *_OF_RUNS)
    chosen = api.choose(names, trained=config is not None or render, rendered=render)
    if dry_run and config is not None:
        _show_runs(chosen, config, changes or [], work or Path(output) / "runs")
        return
    missing = [name for name in STUDIES if name not in chosen]
    if "all" in names and missing:
        tell(f"Left out: {', '.join(missing)}.")
    options = {}
    if config is not None:
        options = {"side_by_side": side_by_side, "scorers": scorers, "keep": keep}
        options["devices"] = split_devices(device) or (None,)
    found = api.reproduce(
        *chosen, out=output, config=config, changes=changes or (), work=work, train=not finished, render=render,
        listener=_show_event, **options,
    )  # fmt: skip
    if as_json:
        print(json.dumps({name: one.content | {"files": list(map(str, one.files))} for name, one in found.items()}))
        return
    for name, one in found.items():
        print(f"# {one.title}\n\n{one.page}\n")
        tell(f"{name}: {', '.join(map(str, one.files))}")


def _list(as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: {"shows": shows} for name, (shows, _) in STUDIES.items()}))
        return
    for name, (shows, _) in STUDIES.items():
        print(f"{name:<14}{shows}")


def _show_runs(names: list[str], config: Path, changes: list[str], work: Path) -> None:
    from mamtra.paper.settings import read_experiments
    from mamtra.paper.stages import next_stage

    waiting = []
    for run in api.runs_of_studies(names, read_experiments(config, changes)):
        done = next_stage(run, work / run.name) is None
        waiting += [] if done else [run]
        print(f"{'done' if done else 'to do':<7}{run.name}")
    missing = api.missing_inputs(waiting)
    if missing:
        raise MamTraError(f"These runs cannot start: {'; '.join(missing)}.")


def _show_event(event: Event, done: int, total: int) -> None:
    tell(f"{done}/{total}  {event.run} {event.what} {event.why}".rstrip())
