"""`mamtra bench`: measurements of speed and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from mamtra.cli.tell import tell


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    verb = typer.Typer(no_args_is_help=True, help="Measure speed and memory; each writes JSON and a page.")
    verb.command("decode", epilog="Example: mamtra bench decode --device cuda")(decode)
    app.add_typer(verb, name="bench")


def decode(
    out: Path = typer.Option(Path("."), "-o", "--out", metavar="DIR", help="Folder for decode.json and decode.md."),
    device: str | None = typer.Option(None, "--device", metavar="D", help="cpu, cuda, ...; the best one by default."),
    seconds: float = typer.Option(600, "--seconds", metavar="S", min=1, help="Begin no row after so long."),
    peers: bool = typer.Option(True, "--peers/--no-peers", help="Measure other ways to make the step too."),
    tiny: bool = typer.Option(False, "--tiny", help="A small model, to try the command."),
) -> None:
    """Time and memory of decode steps at CosyVoice 2 size, with random weights."""
    from mamtra.runtime.files import check_destination

    check_destination(out / "decode.json")
    from mamtra.bench.decode import bench_decode
    from mamtra.runtime.device import pick_device

    page = bench_decode(out, device=pick_device(device), seconds=seconds, tiny=tiny, peers=peers, tell=_tell)
    tell(f"{page}: the figures, with decode.json beside it")


def _tell(row: dict[str, Any]) -> None:
    """A line for one measurement."""
    shown = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
             if isinstance(value, int | float | str))  # fmt: skip
    tell("  ".join(shown))
