"""`mamtra detect`: whether recordings hold the watermark."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from mamtra.cli.options import KEY_OF_MARKS, Json, watermark_key
from mamtra.runtime.printable import printable

UNMARKED = 3
"""Exit status when a file holds no mark."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("detect", epilog="Example: mamtra say Hello --watermark -o hello.mp3 && mamtra detect hello.mp3")(
        detect
    )


def detect(files: list[str] = typer.Argument(metavar="FILE...", help="Recordings."), as_json: Json = False) -> None:
    """Tell which FILEs hold the mark of --watermark. Exit status 3 where one does not."""
    from mamtra.audio import watermark
    from mamtra.audio.io import read_audio

    key, missing = watermark_key(), 0
    for file in files:
        found = watermark.detect(*read_audio(file), key)
        missing += not found.marked
        if as_json:
            print(json.dumps({"file": file, **asdict(found)}))
            continue
        told = f"marked, in {found.seconds:.1f} s of it" if found.marked else f"no mark of this key ({KEY_OF_MARKS})"
        print(f"{printable(file)}: {told} ({found.score:.1f} standard deviations, {watermark.FOUND:g} are enough)")
    if missing:
        raise typer.Exit(UNMARKED)
