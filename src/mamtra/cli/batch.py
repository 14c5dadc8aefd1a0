"""`mamtra batch`: a file of texts to a folder of sound files."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from mamtra.cli.options import Device, Json, Model, Runtime, Watermark, refuse_ignored, watermark_key
from mamtra.cli.tables import Bars
from mamtra.cli.tell import warnings_in_words
from mamtra.runtime.printable import printable

SHOWN = 20
"""Failed lines that are printed."""
FAILED = 2
"""Exit status when a line has failed."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("batch", epilog="Example: mamtra batch book.txt book --format mp3 --voice NAME")(batch)


def batch(
    ctx: typer.Context,
    file: Path = typer.Argument(
        metavar="FILE", help=".txt with a text a line, or .jsonl with text, id, voice, seed, speed, format."
    ),
    folder: Path = typer.Argument(metavar="DIR", help="Folder of the sound files ID.FORMAT."),
    voice: str | None = typer.Option(None, metavar="NAME|FILE.wav", help="For lines that name none."),
    model: Model = None,
    seed: int = typer.Option(0, metavar="N", min=0, help="For lines that name none."),
    speed: float = typer.Option(1.0, metavar="X", help="0.5 (slow) to 2 (fast), for lines that name none."),
    fmt: str = typer.Option("wav", "--format", metavar="F", help="wav, flac, opus, mp3, aac or pcm, likewise."),
    runtime: Runtime = None,
    device: Device = None,
    ray: str | None = typer.Option(
        None, metavar="ADDRESS", help="Speak on a Ray cluster: auto, HOST:PORT, or local for this machine."
    ),
    workers: int | None = typer.Option(None, metavar="N", min=1, help="With --ray: the most actors."),
    watermark: Watermark = False,
    as_json: Json = False,
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Print nothing but failures."),
) -> None:
    """Speak every line of FILE into DIR. The same command resumes an interrupted one and makes only what has changed."""
    from mamtra.bulk import batch as run

    if ray is None:
        refuse_ignored(ctx, "without --ray", "workers")
    with warnings_in_words(quiet), Bars("Speaking", quiet=quiet) as bars:
        summary = run(
            file, folder, model=model, voice=voice, seed=seed, speed=speed, fmt=fmt, runtime=runtime,
            device=device, ray=ray, workers=workers, watermark=watermark_key(watermark), progress=bars.count,
        )  # fmt: skip
    for failure in summary.failures[:SHOWN]:
        print(f"mamtra: {printable(failure.reason, 400)}", file=sys.stderr)
    if len(summary.failures) > SHOWN:
        print(f"mamtra: ... and {len(summary.failures) - SHOWN} more; --json lists all.", file=sys.stderr)
    if as_json:
        print(json.dumps({"folder": str(folder), **asdict(summary)}, ensure_ascii=False))
    elif not quiet:
        cut = f", {len(summary.cut_off)} cut off at the length limit" if summary.cut_off else ""
        print(
            f"{folder}: {summary.made:,} made ({summary.seconds:.1f} s{cut}), {summary.kept:,} kept, "
            f"{len(summary.failures):,} failed",
            file=sys.stderr,
        )
    if summary.failures:
        raise typer.Exit(FAILED)
