"""`mamtra export`: a language model back to CosyVoice 2, or a model as ONNX graphs."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mamtra.cli.options import Json
from mamtra.cli.tell import tell


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("export", epilog="Examples: mamtra export my-model llm.pt; mamtra export mini graphs --onnx")(export)


def export(
    model: str = typer.Argument(metavar="MODEL", help="Model directory or name."),
    target: str = typer.Argument(metavar="FILE.pt|DIR", help="File to make, such as llm.pt; with --onnx a directory."),
    onnx: bool = typer.Option(False, "--onnx", help="Write a directory of ONNX graphs over the model's weights."),
    as_json: Json = False,
) -> None:
    """Write the speech language model of MODEL as the llm.pt of CosyVoice 2 (all its layers are attention), or ONNX graphs."""
    if onnx:
        from mamtra.light.export import export_onnx

        made = export_onnx(model, target)
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    else:
        from mamtra.checkpoints.cosyvoice_export import export_llm

        size = export_llm(model, Path(target)).stat().st_size
    if as_json:
        print(json.dumps({"directory" if onnx else "file": target, "bytes": size}))
    else:
        tell(f"{target}: {size / 1e6:.1f} MB")
