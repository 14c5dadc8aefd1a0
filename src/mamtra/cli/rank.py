"""`mamtra rank`: how much a model needs the attention of each layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from mamtra.cli.options import Device, Json, Seed, Whisper, refuse_ignored
from mamtra.cli.tables import Bars
from mamtra.cli.tell import tell

if TYPE_CHECKING:
    from mamtra.conversion.ranking_file import StoredTable


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("rank", epilog="Example: mamtra rank MODEL --criterion kl --replace mamba -o kl.jsonl --plot kl.svg")(
        rank
    )


def rank(
    ctx: typer.Context,
    model: str = typer.Argument(help="Model directory or name."),
    criterion: str = typer.Option(..., metavar="C", help="cosine, kl or wer."),
    output: str | None = typer.Option(
        None, "-o", "--output", metavar="FILE", help="Table, .jsonl or .csv; ranking-CRITERION.jsonl by default."
    ),
    part: str = typer.Option("block", metavar="P", help="cosine of the whole block, or of its attention."),
    replace: str = typer.Option(
        "identity", metavar="R", help="identity drops attention, mamba puts the converted mixer there."
    ),
    iterative: bool = typer.Option(False, "--iterative", help="Measure the rest again after each removal."),
    data: str | None = typer.Option(
        None, metavar="FILE", help="cosine, kl: .jsonl or .npz; the model's own speech by default."
    ),
    every: int = typer.Option(1, metavar="N", min=1, help="Of --data, take only every Nth utterance."),
    utterances: int = typer.Option(64, metavar="N", min=1, help="Measure on N utterances at most."),
    sentences: str | None = typer.Option(
        None, metavar="FILE", help="What the model says, one sentence a line; a built-in list by default."
    ),
    voice: str | None = typer.Option(None, metavar="NAME", help="Voice that the model speaks with."),
    greedy: bool = typer.Option(False, "--greedy", help="cosine, kl: do not sample the model's own speech."),
    whisper: Whisper = None,
    seed: Seed = 0,
    plot: str | None = typer.Option(None, metavar="FILE", help="Draw the scores, .svg or .png."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the table instead of continuing it."),
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Rank the layers of MODEL by how much it needs their attention. An interrupted run continues where it stopped."""
    if criterion == "wer":
        refuse_ignored(ctx, "with --criterion wer, which measures free-running speech", "greedy")
    else:
        refuse_ignored(ctx, f"with --criterion {criterion}, which transcribes nothing", "whisper")
    if criterion != "cosine":
        refuse_ignored(ctx, "without --criterion cosine", "part")
    if data is None:
        refuse_ignored(ctx, "without --data", "every")
    elif criterion != "wer":
        refuse_ignored(ctx, "with --data, which is what the model reads", "sentences", "voice", "greedy")
    from mamtra.ranking import rank as run

    with Bars("Measuring") as bars:
        table = run(
            model, criterion, output=output, part=part, replace=replace, iterative=iterative, data=data, every=every,
            utterances=utterances, sentences=sentences, voice=voice, sample=not greedy, whisper=whisper, seed=seed,
            plot=plot, overwrite=overwrite, device=device, progress=bars,
        )  # fmt: skip
    print(json.dumps({"table": str(table.path), **table.summary()})) if as_json else _show(table)


def _show(table: StoredTable) -> None:
    from rich.console import Console
    from rich.table import Table

    scores = {row.layer: row.score for row in table.rows}  # of a layer's last step
    page = Table("Place", "Layer", "Score", box=None)
    for place, layer in enumerate(table.ranking(), 1):
        page.add_row(str(place), str(layer), f"{scores[layer]:.5g}" if layer in scores else "Mamba")
    Console().print(page)
    path = table.path
    tell(f"{path}: give it to `mamtra plan` or `mamtra convert` with --ranking {path}")
