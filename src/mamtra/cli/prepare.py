"""`mamtra prepare`: turn recordings with transcripts into token shards for training."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mamtra.cli.options import Json, refuse_ignored
from mamtra.cli.tables import Bars

_OF_RECORDINGS = ("workers", "ray", "min_seconds", "max_seconds", "max_text", "per_shard")
"""Parameters that concern recordings."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("prepare", epilog="Example: mamtra prepare LibriTTS/train-clean-100 tokens --model CosyVoice2-0.5B")(
        prepare
    )


def prepare(
    ctx: typer.Context,
    corpus: str = typer.Argument(
        metavar="CORPUS",
        help="LibriTTS, LibriSpeech or LJSpeech folder, folder with a .txt beside each sound file, .jsonl, .csv or .tsv of audio "
        "and text, hf:NAME[:SPLIT], or a token set .npz.",
    ),
    out: Path = typer.Argument(metavar="OUT", help="Folder of the shards."),
    model: str = typer.Option("mini", metavar="M", help="Model whose tokenizers are used."),
    device: str | None = typer.Option(None, metavar="D", help="cpu, cuda or cuda:N."),
    workers: int | None = typer.Option(
        None, metavar="N", min=1, help="Processes on the CPU, 1 by default; with --ray the most actors."
    ),
    ray: str | None = typer.Option(
        None, metavar="ADDRESS", help="Tokenize on a Ray cluster: auto, HOST:PORT, or local for this machine."
    ),
    min_seconds: float = typer.Option(1.0, metavar="X", help="Skip shorter recordings."),
    max_seconds: float = typer.Option(60.0, metavar="X", help="Skip longer recordings."),
    max_text: int | None = typer.Option(
        None, metavar="N", min=1, help="Skip longer texts, in text ids; 200, or 1000 for phonemes."
    ),
    per_shard: int = typer.Option(1000, metavar="N", min=1, help="Recordings of a shard."),
    as_json: Json = False,
) -> None:
    """Turn CORPUS into speech tokens and text ids. The same command resumes an interrupted one."""
    if corpus.endswith(".npz"):
        refuse_ignored(ctx, "with a token set, which is tokenized already", *_OF_RECORDINGS)
    from mamtra.data.api import prepare as run
    from mamtra.runtime.printable import printable

    with Bars("Tokenizing", quiet=as_json) as bars:
        summary = run(
            corpus, out, model=model, device=device, workers=workers, ray=ray, min_seconds=min_seconds,
            max_seconds=max_seconds, max_text=max_text, per_shard=per_shard, progress=bars.count,
        )  # fmt: skip
    if as_json:
        print(json.dumps({"out": str(out), **summary}))
        return
    reasons = "".join(
        f"\n  {count:>8,}  {reason}, first {printable(summary['examples'][reason], 200)}"
        for reason, count in summary["reasons"].items()
    )
    print(
        f"{out}: {summary['utterances']:,} utterances, {summary['speech_tokens']:,} speech tokens, "
        f"{summary['text_ids']:,} text ids in {summary['shards']} shards; {summary['skipped']:,} skipped{reasons}"
    )
