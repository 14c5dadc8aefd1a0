"""`mamtra bench`: measurements of speed and memory."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    verb = typer.Typer(no_args_is_help=True, help="Measure speed and memory; each writes JSON and a page.")
    verb.command("decode", epilog="Example: mamtra bench decode --device cuda")(decode)
    app.add_typer(verb, name="bench")


def decode(
    out: Path = typer.Option(
        Path("docs/results"), "-o", "--out", metavar="DIR", help="Folder of decode.json, decode.md."
    ),
    device: str | None = typer.Option(None, "--device", metavar="D", help="cpu, cuda, ...; the best one by default."),
    seconds: float = typer.Option(600, "--seconds", metavar="S", min=1, help="Begin no row after so long."),
    peers: bool = typer.Option(True, "--peers/--no-peers", help="Measure other ways to make the step too."),
    tiny: bool = typer.Option(False, "--tiny", help="A small model, to try the command."),
) -> None:
    """Time and memory of decode steps at CosyVoice 2 size, with random weights."""
    from mamtra.bench.decode import bench_decode
    from mamtra.runtime.device import pick_device

    out.mkdir(parents=True, exist_ok=True)
    typer.echo(bench_decode(out, device=pick_device(device), seconds=seconds, tiny=tiny, peers=peers))
