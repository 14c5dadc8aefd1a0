"""Options that several verbs have, and the refusal of those that would have no effect: whoever gave them expected one."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mamtra.errors import MamTraError

Model = Annotated[str | None, typer.Option(metavar="M", help="Model directory or name.")]
Device = Annotated[str | None, typer.Option(metavar="D", help="cpu, cuda, cuda:N or mps.")]
Runtime = Annotated[str | None, typer.Option(metavar="onnx|torch", help="What computes; torch where it is installed.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="The same seed gives the same result.")]
Speed = Annotated[float, typer.Option(metavar="X", help="0.5 (slow) to 2 (fast).")]
Ratio = Annotated[str | None, typer.Option(metavar="T:M", help="Attention to Mamba layers, such as 1:3.")]
Strategy = Annotated[
    str | None,
    typer.Option(
        metavar="S",
        help="block-beg (default), block-end, front, middle, back, sandwich, block-beg+1, importance-cosine, -wer or -kl.",
    ),
]
Attention = Annotated[
    str | None, typer.Option(metavar="I,I,...", help="Instead of a ratio: the layers that keep attention, from 0.")
]
Ranking = Annotated[
    str | None, typer.Option(metavar="FILE", help="For the importance strategies: what `mamtra rank` wrote.")
]
Whisper = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|NAME", envvar="MAMTRA_WHISPER", help="Whisper that transcribes: a folder, hf:NAME or a size."
    ),
]
KEY_OF_MARKS = "MAMTRA_WATERMARK_KEY"
Watermark = Annotated[
    bool,
    typer.Option("--watermark", help=f"Mark the samples for `mamtra detect`, with the key in {KEY_OF_MARKS} if any."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def watermark_key(wanted: bool = True) -> str | None:
    """Whose watermark it is; None where none is wanted."""
    from mamtra.audio.watermark import KEY

    return (os.environ.get(KEY_OF_MARKS) or KEY) if wanted else None


def read_indices(text: str | None) -> list[int] | None:
    """Layer numbers of `Attention`; None where it is absent.

    Raises:
        MamTraError: it reads otherwise.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise MamTraError(f"--attention takes layer numbers between commas, such as 0,4,8, not {text!r}.")
    return [int(word) for word in words]


def refuse_ignored(ctx: typer.Context, why: str, *names: str) -> None:
    """Refuse options that were given on the command line.

    Args:
        ctx: of the command.
        why: when they have no effect, such as "without --stream".
        names: of their parameters.

    Raises:
        MamTraError: one of them was given.
    """
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise MamTraError(f"{parameter.opts[-1]} has no effect {why}; leave it out.")
