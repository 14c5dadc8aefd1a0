"""`mamtra bench`: measurements of speed and memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from mamtra.cli.tell import tell


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    verb = typer.Typer(no_args_is_help=True, help="Measure speed and memory; each writes JSON and a page.")
    for name, does in (
        ("decode", "Time of decode steps at CosyVoice 2 size, with random weights."),
        ("memory", "Peak GPU memory of the language model at CosyVoice 2 size, with random weights."),
        ("latency", "First sound and speed of the embedded voice, first and further tokens at CosyVoice 2 size."),
    ):
        verb.command(name, help=does, epilog=f"Example: mamtra bench {name} --device cuda")(_command(name))
    app.add_typer(verb, name="bench")


def _command(name: str) -> Callable[..., None]:
    def run(
        out: Path = typer.Option(
            Path("."), "-o", "--out", metavar="DIR", help="Folder for the JSON file and the page."
        ),
        device: str | None = typer.Option(
            None, "--device", metavar="D", help="cpu, cuda, ...; the best one by default."
        ),
        seconds: float = typer.Option(600, "--seconds", metavar="S", min=1, help="Begin no row after so long."),
        peers: bool = typer.Option(True, "--peers/--no-peers", help="Measure other programs too."),
        tiny: bool = typer.Option(False, "--tiny", help="A small model, to try the command."),
    ) -> None:
        from mamtra.runtime.files import check_destination
        from mamtra.runtime.plotting import need_matplotlib

        check_destination(out / f"{name}.json")
        if name != "decode":
            need_matplotlib()
        from mamtra.runtime.device import pick_device

        module = importlib.import_module(f"mamtra.bench.{name}")
        measure = getattr(module, f"bench_{name}")
        page = measure(out, device=pick_device(device), seconds=seconds, tiny=tiny, peers=peers, tell=_tell)
        tell(f"{page}: the figures, with {page.with_suffix('.json').name} beside it")

    return run


def _tell(row: dict[str, Any]) -> None:
    """A line for one measurement."""
    shown = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
             if isinstance(value, int | float | str))  # fmt: skip
    tell("  ".join(shown))
