"""`mamtra web`: a folder that speaks in the browser."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mamtra.cli.options import Json
from mamtra.cli.tell import tell


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("web", epilog="Example: mamtra web page && python -m http.server --directory page 8000")(web)


def web(
    target: str = typer.Argument(metavar="DIR", help="Folder to make."),
    model: str = typer.Option("mini-fast", metavar="MODEL", help="Model directory or name."),
    packages: Path = typer.Option(
        None, metavar="FOLDER", help="Folder with the npm packages that the page runs, instead of fetching them by npm."
    ),
    as_json: Json = False,
) -> None:
    """Write a folder of files with which a browser speaks by itself, offline once it has been loaded.

    Serve it with any web server. Needs npm, or the packages onnxruntime-web and pyodide in a folder.
    """
    from mamtra.web.site import write_site

    made = write_site(target, model, packages)
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    if as_json:
        print(json.dumps({"directory": target, "bytes": size}))
    else:
        tell(
            f"{target}: {size / 1e6:.1f} MB; serve it, for example with: python -m http.server --directory {target} 8000"
        )
