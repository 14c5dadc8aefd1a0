"""Preparation of a corpus from Python: what `mamtra prepare` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.data.corpora import open_recordings
from mamtra.data.corpus import tokenizer_hashes
from mamtra.data.prepare_shards import Progress, prepare_corpus
from mamtra.data.ray_prepare import RayTokenizer, absolute
from mamtra.data.token_sets import import_token_set
from mamtra.data.tokenize import Filter, Tokenizer
from mamtra.runtime.arguments import checked
from mamtra.runtime.device import pick_device
from mamtra.synthesis.open_model import open_model

LONGEST_TEXT = {"bpe": 200, "phonemes": 1000}
"""Text ids by text unit; 200 byte-pair units are CosyVoice 2's filter, and a text has about five times as many phonemes."""


@checked
def prepare(
    corpus: str | os.PathLike,
    out: str | os.PathLike,
    *,
    model: str = "mini",
    device: str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    min_seconds: float = 1.0,
    max_seconds: float = 60.0,
    max_text: int | None = None,
    per_shard: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Turn recordings with transcripts into token shards. The same call resumes an interrupted one.

    Args:
        corpus: LibriTTS, LibriSpeech or LJSpeech folder, folder of sound files with a .txt beside each, .jsonl, .csv or .tsv of
            audio and text, ``hf:NAME[:SPLIT]``, or a token set .npz.
        out: folder of the shards.
        model: directory or name of the model whose tokenizers are used.
        device: cpu, cuda or cuda:N; chosen automatically by default.
        workers: processes on the CPU (1 by default), or the most actors on Ray.
        ray: tokenize on a Ray cluster: ``auto``, ``HOST:PORT``, or ``local`` for this machine.
        min_seconds: skip shorter recordings.
        max_seconds: skip longer recordings.
        max_text: skip longer texts, in text ids; `LONGEST_TEXT` by default.
        per_shard: recordings of a shard, before filtering.
        progress: called with the recordings that are done and their total.

    Returns:
        Counts of utterances, tokens, shards, and of skipped recordings by reason, with the first of each reason.

    Raises:
        MamTraError: there is no such corpus or model, no recording is usable, or the disk is full.
    """
    corpus, out = os.fspath(corpus), Path(out)
    if corpus.endswith(".npz"):
        return _import_token_set(Path(corpus), out, model)
    recordings = open_recordings(absolute(corpus) if ray else corpus)
    kind = "bpe" if open_model(find_model(model)).text.reads_letters else "phonemes"
    keep = Filter(min_seconds, max_seconds, max_text or LONGEST_TEXT[kind])
    if ray:
        opened = RayTokenizer(recordings, model, keep, pick_device(device), address=ray, workers=workers)
    else:
        opened = Tokenizer(recordings, model, keep, pick_device(device), workers or 1)
    with opened as tokenizer:
        return prepare_corpus(recordings, out, tokenizer, model, keep, per_shard=per_shard, progress=progress)


def _import_token_set(path: Path, out: Path, model: str) -> dict[str, Any]:
    directory = find_model(model)
    sizes, (speech, text) = open_language_model(directory).config, tokenizer_hashes(directory)
    made = import_token_set(
        path, out, text_vocab_size=sizes.text_vocab_size, num_speech_tokens=sizes.num_speech_tokens,
        speech_tokenizer=speech, text_tokenizer=text,
    )  # fmt: skip
    totals = {
        name: sum(getattr(info, name) for info in made.shards) for name in ("utterances", "speech_tokens", "text_ids")
    }
    return {
        **totals,
        "speakers": len(made.speakers),
        "shards": len(made.shards),
        "skipped": 0,
        "reasons": {},
        "examples": {},
    }
