"""`mamtra bench`: measurements of speed and memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from mamtra.cli.tell import tell
from mamtra.errors import MamTraError


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    verb = typer.Typer(no_args_is_help=True, help="Measure speed and memory; each writes JSON and a page.")
    for name, does in (
        ("decode", "Time of decode steps at CosyVoice 2 size, with random weights."),
        ("memory", "Peak GPU memory of the language model at CosyVoice 2 size, with random weights."),
        ("latency", "First sound and speed of the embedded voice, first and further tokens at CosyVoice 2 size."),
    ):
        verb.command(name, help=does, epilog=f"Example: mamtra bench {name} --device cuda")(_command(name))
    verb.command("serve", epilog="Example: mamtra bench serve http://127.0.0.1:8000/v1 --listeners 1,2,4")(serve)
    app.add_typer(verb, name="bench")


def _command(name: str) -> Callable[..., None]:
    def run(
        out: Path = typer.Option(
            Path("."), "-o", "--out", metavar="DIR", help="Folder for the JSON file and the page."
        ),
        device: str | None = typer.Option(None, metavar="D", help="cpu, cuda, ...; the best one by default."),
        seconds: float = typer.Option(600, metavar="S", min=1, help="Begin no row after so long."),
        peers: bool = typer.Option(True, "--peers/--no-peers", help="Measure other programs too."),
        tiny: bool = typer.Option(False, "--tiny", help="A small model, to try the command."),
    ) -> None:
        from mamtra.runtime.files import check_destination
        from mamtra.runtime.plotting import need_matplotlib

        check_destination(out / f"{name}.json")
        need_matplotlib()
        from mamtra.runtime.device import pick_device

        module = importlib.import_module(f"mamtra.bench.{name}")
        measure = getattr(module, f"bench_{name}")
        page = measure(out, device=pick_device(device), seconds=seconds, tiny=tiny, peers=peers, tell=_tell)
        tell(f"{page}: the figures, with {page.with_suffix('.json').name} beside it")

    return run


def serve(
    url: str = typer.Argument(metavar="URL", help="Of an OpenAI-compatible server, with /v1."),
    out: Path = typer.Option(Path("."), "-o", "--out", metavar="DIR", help="Folder for serve.json and serve.md."),
    listeners: str = typer.Option("", metavar="N,N", help="So many who play what they get, then ask again."),
    clients: str = typer.Option("", metavar="N,N", help="So many who ask again at once."),
    rate: str = typer.Option("", metavar="X,X", help="So many requests a second, at random moments."),
    seconds: float = typer.Option(30, metavar="S", min=1, help="Of each load."),
    seed: int = typer.Option(0, metavar="N", min=0, help="Of the texts and moments."),
    processes: int = typer.Option(1, metavar="N", min=1, max=64, help="Share a load, one for about 64 listeners."),
    model: str = typer.Option("tts-1", metavar="M", help="What to ask for."),
    voice: str = typer.Option("alloy", metavar="V", help="What to ask for."),
    name: str = typer.Option("", metavar="T", help="Of the server, for the page."),
    sample_rate: int = typer.Option(24000, metavar="HZ", min=8000, help="Of its raw samples."),
) -> None:
    """First audio, real-time factor and gaps of a speech server under load. A key may be in MAMTRA_API_KEY."""
    import os
    import sys

    from mamtra.bench.serve import bench_serve
    from mamtra.bench.serve_client import Target
    from mamtra.bench.serve_load import Mode
    from mamtra.runtime.files import check_destination
    from mamtra.runtime.results import shown_command

    given: dict[Mode, str] = {"listeners": listeners, "clients": clients, "rate": rate}
    loads = [(mode, amount) for mode, text in given.items() for amount in _amounts(mode, text)]
    if not loads:
        raise MamTraError("Say the load: --listeners, --clients or --rate.")
    target = Target(url, {"model": model, "voice": voice}, os.environ.get("MAMTRA_API_KEY"), sample_rate)
    check_destination(out / "serve.json")
    command = shown_command(["mamtra", *sys.argv[1:]])
    options = {"seconds": seconds, "seed": seed, "processes": processes, "name": name, "command": command}
    page = bench_serve(out, target, loads, **options, tell=_tell)
    tell(f"{page}: the figures, with serve.json beside it")


def _amounts(mode: str, text: str) -> list[float]:
    try:
        found = [float(word) for word in filter(None, text.split(","))]
    except ValueError:
        found = [0.0]
    if not all(0 < amount <= 10_000 and (mode == "rate" or amount.is_integer()) for amount in found):
        raise MamTraError(f"--{mode} {text} cannot be read; give numbers such as 1,2,4.")
    return found


def _tell(row: dict[str, Any]) -> None:
    """A line for one measurement."""
    shown = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
             if isinstance(value, int | float | str))  # fmt: skip
    tell("  ".join(shown))
