"""Token shards of a corpus of recordings, written one by one; finished shards are not made again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.data.corpus import tokenizer_hashes
from mamtra.data.recordings import Item, Recordings
from mamtra.data.token_shards import MANIFEST, Manifest, ShardInfo, Utterance, shard_name, write_shard
from mamtra.data.tokenize import Filter, Tokens
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.runtime.files import disk_is_full, hash_files, write_text
from mamtra.runtime.json_files import read_json, write_json

SKIPPED = "skipped.jsonl"
Progress = Callable[[int, int], None]
"""Called with the recordings that are done and their total."""


class Tokenizes(Protocol):
    """Tokenizes recordings, in this process or elsewhere."""

    def each(self, parts: Sequence[Sequence[Item]]) -> Iterable[tuple[int, Sequence[Tokens]]]:
        """The number of a part and the tokens of its items, as parts are finished."""


def prepare_corpus(
    corpus: Recordings,
    out: Path,
    tokenizer: Tokenizes,
    model: str,
    keep: Filter,
    *,
    per_shard: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the shards of a corpus. The same call resumes an interrupted one, with equal files in the end.

    Args:
        corpus: recordings.
        out: folder of the shards.
        tokenizer: of this corpus and model.
        model: directory or name of the model whose ids the shards hold.
        keep: filter of the recordings.
        per_shard: recordings of a shard, before filters.
        progress: called after every shard.

    Returns:
        Counts of what was kept and skipped, for JSON.

    Raises:
        MamTraError: every recording was skipped, or the disk is full.
    """
    items = corpus.items()
    directory = find_model(model)
    sizes: SpeechLMConfig = open_language_model(directory).config
    speech_hash, text_hash = tokenizer_hashes(directory)
    usable = [item for item in items if not item.problem]
    speakers, sources = sorted({item.speaker for item in usable}), sorted({item.source for item in usable})
    settings = {
        "speech": speech_hash,
        "text": text_hash,
        "filter": vars(keep),
        "speakers": speakers,
        "sources": sources,
    }
    with _explain_full_disk(out):
        out.mkdir(parents=True, exist_ok=True)
    parts = [items[start : start + per_shard] for start in range(0, len(items), per_shard)]
    keys = [_key(settings, part) for part in parts]
    records = {i: record for i, key in enumerate(keys) if (record := _finished(out, i, key)) is not None}
    missing = [i for i in range(len(parts)) if i not in records]
    done = sum(len(parts[i]) for i in records)
    for at, tokens in tokenizer.each([parts[i] for i in missing]):
        number = missing[at]
        with _explain_full_disk(out):
            records[number] = _make(out, number, keys[number], parts[number], tokens, speakers, sources)
        done += len(parts[number])
        if progress is not None:
            progress(done, len(items))
    for stale in set(out.glob("shard-*")) - {
        out / name for i in range(len(parts)) for name in (shard_name(i), _record_name(i))
    }:
        stale.unlink()
    with _explain_full_disk(out):
        return _complete(
            out, [records[i] for i in range(len(parts))], sizes, speech_hash, text_hash, speakers, sources, keep
        )


@contextmanager
def _explain_full_disk(out: Path) -> Iterator[None]:
    """Say how to go on when the disk is full."""
    try:
        yield
    except (MamTraError, OSError) as error:
        if not disk_is_full(error):
            raise
        raise MamTraError(
            f"{out} cannot be written (no space left on device); make room and run the same again, which keeps the "
            "finished shards."
        ) from error


def _make(
    out: Path,
    number: int,
    key: str,
    part: Sequence[Item],
    found: Sequence[Tokens],
    speakers: list[str],
    sources: list[str],
) -> dict[str, Any]:
    """Write one shard, and then the record that marks it as finished."""
    kept: list[Utterance] = []
    skipped, seconds = [], 0.0
    numbers = {"speaker": {s: i for i, s in enumerate(speakers)}, "source": {s: i for i, s in enumerate(sources)}}
    for item, tokens in zip(part, found, strict=True):
        if tokens.reason or not len(tokens.speech):
            reason = tokens.reason or "no speech"
            skipped.append({"id": item.id, "reason": reason, **({"detail": tokens.detail} if tokens.detail else {})})
            continue
        seconds += tokens.seconds
        who, where = numbers["speaker"][item.speaker], numbers["source"][item.source]
        kept.append(Utterance(tokens.text, tokens.speech, who, where))
    info = write_shard(out / shard_name(number), kept).model_dump() if kept else None
    record = {"key": key, "shard": info, "skipped": skipped, "seconds": round(seconds, 3)}
    write_json(out / _record_name(number), record)
    return record


def _finished(out: Path, number: int, key: str) -> dict[str, Any] | None:
    """The record of a finished, undamaged shard of the same recordings and settings."""
    path = out / _record_name(number)
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        info = record["shard"]
        if record["key"] != key:
            return None
        if info is not None and hash_files(out / info["file"]) != info["sha256"]:
            return None
    except (MamTraError, OSError, KeyError, TypeError):
        return None
    return record


def _complete(
    out: Path,
    records: list[dict[str, Any]],
    sizes: SpeechLMConfig,
    speech_hash: str,
    text_hash: str,
    speakers: list[str],
    sources: list[str],
    keep: Filter,
) -> dict[str, Any]:
    """Write the manifest and the list of skipped recordings; returns the summary."""
    skipped = [entry for record in records for entry in record["skipped"]]
    shards = [ShardInfo(**record["shard"]) for record in records if record["shard"] is not None]
    write_text(out / SKIPPED, "".join(json.dumps(entry) + "\n" for entry in skipped))
    if not shards:
        first = f"; the first: {skipped[0].get('detail') or skipped[0]['reason']}" if skipped else ""
        raise MamTraError(f"None of the recordings was kept, see {out / SKIPPED}{first}")
    summary = {
        "utterances": sum(info.utterances for info in shards),
        "hours": round(sum(record["seconds"] for record in records) / 3600, 4),
        "speech_tokens": sum(info.speech_tokens for info in shards),
        "text_ids": sum(info.text_ids for info in shards),
        "speakers": len(speakers),
        "shards": len(shards),
        "skipped": len(skipped),
        "reasons": dict(sorted(Counter(entry["reason"] for entry in skipped).items())),
    }
    manifest = Manifest(
        speech_tokenizer=speech_hash, text_tokenizer=text_hash, num_speech_tokens=sizes.num_speech_tokens,
        text_vocab_size=sizes.text_vocab_size, speakers=speakers, sources=sources, shards=shards,
        about={"filter": vars(keep), **summary},
    )  # fmt: skip
    write_json(out / MANIFEST, manifest.model_dump())
    examples = {entry["reason"]: entry.get("detail") or entry["id"] for entry in reversed(skipped)}
    return {**summary, "examples": examples}


def _record_name(number: int) -> str:
    return f"shard-{number:05}.json"


def _key(settings: dict[str, Any], part: list[Item]) -> str:
    known = [[item.id, item.text, item.speaker, item.source, *filter(None, [item.problem])] for item in part]
    content = json.dumps([settings, known], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
