"""`mamtra rank`: how much a model needs the attention of each layer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from mamtra.conversion.ranking_table import Measure, RankingTable
    from mamtra.ranking.run import Judge, RankSettings
    from mamtra.tts import TTS
    from mamtra.voices.voice import Voice

CRITERIA = ("cosine", "wer", "kl")
PARTS = ("block", "attention")
REPLACEMENTS = ("identity", "mamba")


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("rank", epilog="Example: mamtra rank MODEL --criterion kl --replace mamba -o kl.jsonl --plot kl.svg")(
        rank
    )


def rank(
    model: str = typer.Argument(help="Model directory or name."),
    criterion: str = typer.Option(..., "--criterion", metavar="C", help="cosine, kl or wer."),
    output: str | None = typer.Option(
        None, "-o", "--output", metavar="FILE", help="Table, .jsonl or .csv; ranking-CRITERION.jsonl by default."
    ),
    part: str = typer.Option("block", "--part", metavar="P", help="cosine over the whole block or its attention only."),
    replace: str = typer.Option(
        "identity", "--replace", metavar="R", help="identity drops attention, mamba puts the converted mixer there."
    ),
    iterative: bool = typer.Option(False, "--iterative", help="Measure the rest again after each removal."),
    data: str | None = typer.Option(
        None, "--data", metavar="FILE", help="cosine, kl: .jsonl or .npz; the model's own speech by default."
    ),
    every: int = typer.Option(1, "--every", metavar="N", min=1, help="Of --data, take only every Nth utterance."),
    utterances: int = typer.Option(64, "--utterances", metavar="N", min=1, help="Measure on N utterances at most."),
    sentences: str | None = typer.Option(
        None,
        "--sentences",
        metavar="FILE",
        help="What the model says, one sentence a line; a built-in list by default.",
    ),
    voice: str | None = typer.Option(None, "--voice", metavar="NAME", help="Voice that the model speaks with."),
    greedy: bool = typer.Option(False, "--greedy", help="cosine, kl: own speech is not sampled."),
    whisper: str | None = typer.Option(
        None,
        "--whisper",
        metavar="DIR|NAME",
        envvar="MAMTRA_WHISPER",
        help="wer: Whisper that listens: a folder, hf:NAME or a size.",
    ),
    seed: int = typer.Option(0, "--seed", metavar="N", min=0, help="The same seed gives the same ranking."),
    plot: str | None = typer.Option(None, "--plot", metavar="FILE", help="Draw the scores, .svg or .png."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Begin anew instead of going on with the table."),
    device: str | None = typer.Option(None, "--device", metavar="D", help="cpu, cuda, cuda:N or mps."),
    as_json: bool = typer.Option(False, "--json", help="Print ranking, scores and settings as JSON."),
) -> None:
    """Rank the layers of MODEL by how much it needs their attention. An interrupted run goes on where it stopped."""
    for option, value, known in (
        ("--criterion", criterion, CRITERIA),
        ("--part", part, PARTS),
        ("--replace", replace, REPLACEMENTS),
    ):
        if value not in known:
            raise MamTraError(f"{option} {value!r} is unknown; choose one of {', '.join(known)}.")
    if criterion == "wer" and data is not None:
        raise MamTraError("--criterion wer measures free-running speech; give --sentences FILE instead of --data.")
    if criterion == "wer" and whisper is None:
        raise MamTraError("--criterion wer needs a transcriber; give a Whisper with --whisper DIR|NAME.")
    from mamtra.conversion.ranking_file import check_place, open_table

    path = Path(output or f"ranking-{criterion}.jsonl")
    check_place(path)
    if plot is not None:
        from mamtra.ranking.plot import check_plot, plot_ranking

        check_plot(plot)
    from mamtra.evaluate.sentences import SENTENCES, read_sentences
    from mamtra.ranking.run import RankSettings, ranking_job
    from mamtra.tts import load

    settings = RankSettings(
        criterion=criterion, part=part, replace=replace, iterative=iterative, utterances=utterances, every=every,
        sample=not greedy, seed=seed,
    )  # fmt: skip
    tts = load(model, device=device)
    header, measure = ranking_job(
        tts.model,
        settings,
        data=None if data is None else Path(data),
        sentences=() if data else read_sentences(Path(sentences) if sentences else SENTENCES),
        voice=None if data else _voice(tts, voice, settings),
        judge=_judge(whisper) if criterion == "wer" else None,
    )
    table = open_table(path, header, overwrite=overwrite)
    _follow(table, measure)
    if plot is not None:
        plot_ranking(table, plot)
    if as_json:
        print(json.dumps({"table": str(path), **table.summary()}))
    else:
        _show(table, path)


def _voice(tts: TTS, name: str | None, settings: RankSettings) -> Voice | None:
    """The voice to speak with. For calibration a model without voices speaks without a prompt."""
    if name is None and not tts.voices:
        if settings.criterion == "wer":
            raise MamTraError("This model has no voices to speak with; add one with `mamtra voices add`.")
        return None
    return tts.voice(name)


def _judge(whisper: str | None) -> Judge:
    from mamtra.evaluate.error_rates import english_normaliser
    from mamtra.evaluate.judges.asr import open_transcriber
    from mamtra.ranking.run import Judge

    return Judge(open_transcriber(whisper), *english_normaliser())


def _follow(table: RankingTable, measure: Measure) -> None:
    """Make the missing measurements behind a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mamtra.conversion.ranking_table import complete

    columns = (TextColumn("Measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Measuring", total=table.header.expected, completed=len(table.rows))
        for _ in complete(table, measure):
            progress.advance(task)


def _show(table: RankingTable, path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    scores = {row.layer: row.score for row in table.rows}  # of a layer's last step
    page = Table("Place", "Layer", "Score", box=None)
    for place, layer in enumerate(table.ranking(), 1):
        page.add_row(str(place), str(layer), f"{scores[layer]:.5g}" if layer in scores else "Mamba")
    Console().print(page)
    print(f"{path}: give it to `mamtra plan` or `mamtra convert` with --ranking {path}", file=sys.stderr)
