"""`mamtra prepare`: recordings with transcripts become the token shards that a training reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

LONGEST_TEXT = {"bpe": 200, "phonemes": 1000}
"""Text ids by the kind of text units; 200 byte-pair units are CosyVoice 2's filter, phonemes are about five times as many."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("prepare", epilog="Example: mamtra prepare LibriTTS/train-clean-100 tokens --model CosyVoice2-0.5B")(
        prepare
    )


def prepare(
    corpus: str = typer.Argument(
        metavar="CORPUS",
        help="LibriTTS or LibriSpeech folder, .jsonl of audio and text, hf:NAME[:SPLIT], or a token set .npz.",
    ),
    out: Path = typer.Argument(metavar="OUT", help="Folder of the shards."),
    model: str = typer.Option("mini", "--model", metavar="M", help="Model whose tokenizers are used."),
    device: str | None = typer.Option(None, "--device", metavar="D", help="cpu, cuda or cuda:N."),
    workers: int | None = typer.Option(
        None, "--workers", metavar="N", min=1, help="Processes on the CPU: 1, or all that --ray has room for."
    ),
    ray: str | None = typer.Option(
        None, "--ray", metavar="ADDRESS", help="Tokenize on a Ray cluster: auto, HOST:PORT, or local for this machine."
    ),
    min_seconds: float = typer.Option(1.0, "--min-seconds", metavar="X", help="Leave shorter recordings out."),
    max_seconds: float = typer.Option(60.0, "--max-seconds", metavar="X", help="Leave longer recordings out."),
    max_text: int | None = typer.Option(
        None, "--max-text", metavar="N", min=1, help="Leave longer texts out, in ids; 200, or 1000 for phonemes."
    ),
    per_shard: int = typer.Option(1000, "--per-shard", metavar="N", min=1, help="Recordings of a shard."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON."),
) -> None:
    """Turn CORPUS into speech tokens and text ids. An interrupted run goes on where it stopped."""
    if corpus.endswith(".npz"):
        summary = _import(Path(corpus), out, model)
    else:
        from mamtra.checkpoints.find import find_model
        from mamtra.data.corpora import open_corpus_of
        from mamtra.data.prepare import prepare_corpus
        from mamtra.data.ray_prepare import RayTokenizer, absolute
        from mamtra.data.tokenize import Filter, Tokenizer
        from mamtra.runtime.device import pick_device
        from mamtra.synthesis.open_model import open_model
        from mamtra.text.bpe import BpeFrontend

        found = open_corpus_of(absolute(corpus) if ray else corpus)
        kind = "bpe" if isinstance(open_model(find_model(model)).text, BpeFrontend) else "phonemes"
        keep = Filter(min_seconds, max_seconds, max_text or LONGEST_TEXT[kind])
        if ray:
            working = RayTokenizer(found, model, keep, pick_device(device), address=ray, workers=workers)
        else:
            working = Tokenizer(found, model, keep, pick_device(device), workers or 1)
        with working as tokenizer:
            summary = prepare_corpus(
                found, out, tokenizer, model, keep, per_shard=per_shard, progress=None if as_json else _tell
            )
    if as_json:
        print(json.dumps({"out": str(out), **summary}))
        return
    reasons = "".join(f"\n  {count:>8,}  {reason}" for reason, count in summary.get("reasons", {}).items())
    print(
        f"{out}: {summary['utterances']:,} utterances, {summary['speech_tokens']:,} speech tokens, "
        f"{summary['text_ids']:,} text ids in {summary['shards']} shards; {summary['skipped']:,} skipped{reasons}"
    )


def _import(path: Path, out: Path, model: str) -> dict[str, Any]:
    from mamtra.checkpoints.find import find_model
    from mamtra.checkpoints.open_lm import open_language_model
    from mamtra.data.token_sets import import_token_set
    from mamtra.distill.setup import tokenizer_hashes

    directory = find_model(model)
    sizes, (speech, text) = open_language_model(directory).config, tokenizer_hashes(directory)
    made = import_token_set(
        path, out, text_vocab_size=sizes.text_vocab_size, num_speech_tokens=sizes.num_speech_tokens,
        speech_tokenizer=speech, text_tokenizer=text,
    )  # fmt: skip
    totals = {
        name: sum(getattr(info, name) for info in made.shards) for name in ("utterances", "speech_tokens", "text_ids")
    }
    return {**totals, "speakers": len(made.speakers), "shards": len(made.shards), "skipped": 0, "reasons": {}}


def _tell(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} recordings", end="" if done < total else "\n", file=sys.stderr, flush=True)
