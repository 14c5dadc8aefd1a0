"""`mamtra reproduce`: the tables and figures of the paper, computed anew."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from mamtra.analysis.study import StudyResult


class Study(NamedTuple):
    """A table or figure: what it shows, and the function without arguments that gives its `StudyResult`, if there is one."""

    shows: str
    function: str | None = None


STUDIES = {
    "table1": Study("strategies and ratios, drawn", "mamtra.analysis.layouts:table1"),
    "table2": Study("growth of operations and memory of the mixers", "mamtra.analysis.complexity:table2"),
    "table3": Study("quality and efficiency"),
    "table3-flops": Study("the TFLOPs column of table 3", "mamtra.analysis.flops_column:flops_column"),
    "table4": Study("loss ablation"),
    "fig3": Study("memory of whole systems"),
    "fig4": Study("loss and word errors by strategy and ratio"),
    "fig5": Study("cache by context", "mamtra.analysis.cache_growth:fig5"),
    "fig6": Study("convergence with and without weight transfer"),
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
    as_json: bool = typer.Option(False, "--json", help="Print the data as JSON, by name."),
) -> None:
    """Compute tables and figures of the MamTra paper anew: NAME.json, NAME.csv, NAME.md and, for figures, NAME.svg."""
    if not names:
        _list(as_json)
        return
    chosen = _choose(names)
    directory = Path(output)
    if directory.exists() and not directory.is_dir():
        raise MamTraError(f"{output} is a file; name a folder with -o.")
    missing = [name for name in STUDIES if name not in chosen]
    if "all" in names and missing:
        print(f"Not in this version: {', '.join(missing)}.", file=sys.stderr)
    found = {}
    for name in chosen:
        result, command = _run(name), f"mamtra reproduce {name}"
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


def _choose(names: list[str]) -> list[str]:
    """The studies to run, each once.

    Raises:
        MamTraError: an unknown name, or one without a function.
    """
    available = [name for name, study in STUDIES.items() if study.function]
    for name in names:
        if name != "all" and name not in STUDIES:
            raise MamTraError(f"There is no {name!r} to reproduce; choose of {', '.join(STUDIES)}, all.")
        if name != "all" and name not in available:
            raise MamTraError(f"{name} cannot be reproduced by this version; it has {', '.join(available)}.")
    return available if "all" in names else list(dict.fromkeys(names))


def _run(name: str) -> StudyResult:
    module, _, function = STUDIES[name].function.partition(":")
    return getattr(importlib.import_module(module), function)()
