"""`mamtra distill-flow`: train a model's flow to take few steps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from mamtra.cli.distill import follow


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    example = "mamtra distill-flow mini few-steps --data tokens --voices voices run.minutes=60"
    app.command("distill-flow", epilog=f"Example: {example}")(distill_flow)


def distill_flow(
    model: str = typer.Argument(metavar="MODEL", help="Directory or name of the model whose flow is the teacher."),
    out: Path = typer.Argument(metavar="OUT", help="Folder of the training; the trained model is OUT/student."),
    data: Path = typer.Option(..., "--data", metavar="DIR", help="Token shards, made by `mamtra prepare`."),
    voices: Path | None = typer.Option(
        None, "--voices", metavar="DIR", help="Voice files to condition on; those of the model by default."
    ),
    changes: list[str] = typer.Argument(
        None, metavar="[key=value ...]", help="Settings, such as flow_steps=[1,2] run.minutes=60; see docs/settings.md."
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on from the latest checkpoint, if there is one."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON; nothing on standard error."),
) -> None:
    """Train the flow of MODEL to make a mel in 2 or 4 steps without guidance; no recordings are needed, only tokens."""
    from mamtra.distill.flow_trainer import distill_flow as train

    settings = {"model": model, "out": str(out), "data": str(data), "voices": None if voices is None else str(voices)}
    follow(partial(train, settings, *(changes or ()), resume=resume), out, as_json)
