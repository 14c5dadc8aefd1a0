"""`mamtra export`: a language model back to CosyVoice 2."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mamtra.cli.tell import tell


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("export", epilog="Example: mamtra export my-model llm.pt")(export)


def export(
    model: str = typer.Argument(metavar="MODEL", help="Model directory or name; all its layers are attention."),
    target: str = typer.Argument(metavar="FILE.pt", help="File to make, such as llm.pt."),
    as_json: bool = typer.Option(False, "--json", help="Print the facts as JSON."),
) -> None:
    """Write the speech language model of MODEL as the llm.pt of CosyVoice 2."""
    from mamtra.checkpoints.cosyvoice_export import export_llm

    size = export_llm(model, Path(target)).stat().st_size
    if as_json:
        print(json.dumps({"file": target, "bytes": size}))
    else:
        tell(f"{target}: {size / 1e6:.1f} MB")
