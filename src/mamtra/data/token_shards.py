"""Tokens of a corpus on disk: shards with ragged arrays, and a manifest that describes them.

    manifest.json            what the ids mean, names of speakers and sources, size and hash of every shard
    shard-00000.safetensors  speech, text: ids of all utterances concatenated (int16, or int32 where ids are larger)
                             speech_len, text_len, speaker, source: one int32 an utterance

Shards are read through memory maps, so a corpus may be larger than memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, ValidationError, model_validator
from safetensors.numpy import save

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_bytes
from mamtra.runtime.json_files import loads, read_json, write_json
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import ClosedModel, first_problem, refuse_renamed

FORMAT = 1
MANIFEST = "manifest.json"
_LENGTHS = ("speech_len", "text_len", "speaker", "source")
_TYPES = {"I16": np.dtype("<i2"), "I32": np.dtype("<i4")}


class Utterance(NamedTuple):
    """Integer arrays (T,) and (M,), and numbers into the manifest's speakers and sources."""

    text: np.ndarray
    speech: np.ndarray
    speaker: int = 0
    source: int = 0


class ShardInfo(ClosedModel):
    """What the manifest says of one shard; lengths are sums over its utterances."""

    file: str = Field(pattern=r"^\w[\w.-]{0,199}$")
    sha256: str
    utterances: int
    speech_tokens: int
    text_ids: int


class Manifest(ClosedModel):
    """Contents of `manifest.json`.

    Attributes:
        format: of the shards.
        speech_tokenizer: hash of the speech tokenizer that made the speech tokens, the `voice_space` of its model.
        text_tokenizer: SHA-256 of the file that turns text into ids.
        num_speech_tokens: speech tokens are below it.
        text_vocab_size: text ids are below it.
        speakers: names by number.
        sources: names by number.
        shards: in their order.
        about: how the corpus was made.
    """

    format: int = FORMAT
    speech_tokenizer: str = ""
    text_tokenizer: str = ""
    num_speech_tokens: int
    text_vocab_size: int
    speakers: list[str]
    sources: list[str]
    shards: list[ShardInfo]
    about: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _no_old_keys(cls, values: Any) -> Any:
        return refuse_renamed(values, {"speech_codes": "num_speech_tokens"})


def write_shard(path: Path, utterances: Sequence[Utterance]) -> ShardInfo:
    """Write one shard, whole or not at all.

    Args:
        path: of the file.
        utterances: at least one.

    Raises:
        OSError: the disk is full or fails.
    """
    arrays = {
        "speech": _packed([u.speech for u in utterances]),
        "text": _packed([u.text for u in utterances]),
        "speech_len": np.array([len(u.speech) for u in utterances], np.int32),
        "text_len": np.array([len(u.text) for u in utterances], np.int32),
        "speaker": np.array([u.speaker for u in utterances], np.int32),
        "source": np.array([u.source for u in utterances], np.int32),
    }
    content = save(arrays)
    write_bytes(path, content)
    return ShardInfo(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        utterances=len(utterances),
        speech_tokens=len(arrays["speech"]),
        text_ids=len(arrays["text"]),
    )


def write_corpus(
    directory: str | os.PathLike, utterances: Iterable[Utterance], *, per_shard: int = 10_000, **manifest: Any
) -> Manifest:
    """Write a corpus that is in memory already.

    Args:
        directory: made where it does not exist.
        utterances: in their order.
        per_shard: utterances of a shard.
        manifest: fields of `Manifest` but ``shards``.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rows = list(utterances)
    shards = [
        write_shard(directory / shard_name(number), rows[start : start + per_shard])
        for number, start in enumerate(range(0, len(rows), per_shard))
    ]
    made = Manifest(shards=shards, **manifest)
    write_json(directory / MANIFEST, made.model_dump())
    return made


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05}.safetensors"


class TokenShards:
    """A corpus with random access.

    Args:
        directory: that holds `manifest.json`.
        verify: compare the hash of every shard with the manifest's; reads all bytes once.

    Attributes:
        manifest: what the ids mean.
        speech_len: (N,) int64.
        text_len: (N,) int64.
        speaker: (N,) int32.
        source: (N,) int32.

    Raises:
        MamTraError: there is no corpus, it has no utterances, or a shard is missing, empty or damaged.
    """

    def __init__(self, directory: str | os.PathLike, *, verify: bool = True) -> None:
        self.directory = Path(directory)
        self.manifest = read_manifest(self.directory)
        if not self.manifest.shards:
            raise MamTraError(f"The corpus {self.directory} holds no utterances; make it again with `mamtra prepare`.")
        self._shards = [_open_shard(self.directory / info.file, info, verify) for info in self.manifest.shards]
        self._first = np.cumsum([0, *(info.utterances for info in self.manifest.shards)])
        joined = {name: np.concatenate([shard[name] for shard in self._shards]) for name in _LENGTHS}
        self.speech_len, self.text_len = joined["speech_len"].astype(np.int64), joined["text_len"].astype(np.int64)
        self.speaker, self.source = joined["speaker"], joined["source"]
        self._starts = [
            {
                part: np.cumsum(shard[f"{part}_len"], dtype=np.int64) - shard[f"{part}_len"]
                for part in ("speech", "text")
            }
            for shard in self._shards
        ]

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, row: int) -> Utterance:
        """One utterance; ids as int64 arrays.

        Raises:
            MamTraError: an id lies outside the manifest's bounds.
        """
        number = int(np.searchsorted(self._first, row, side="right")) - 1
        shard, starts, at = self._shards[number], self._starts[number], row - self._first[number]
        parts = {}
        for part, size in (("text", self.manifest.text_vocab_size), ("speech", self.manifest.num_speech_tokens)):
            start = starts[part][at]
            ids = shard[part][start : start + shard[f"{part}_len"][at]].astype(np.int64)
            if len(ids) and not 0 <= ids.min() <= ids.max() < size:
                file = self.directory / self.manifest.shards[number].file
                raise MamTraError(f"{file} holds {part} ids outside 0 to {size - 1}; make the corpus again.")
            parts[part] = ids
        return Utterance(parts["text"], parts["speech"], int(shard["speaker"][at]), int(shard["source"][at]))


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a corpus.

    Raises:
        MamTraError: it is missing, damaged or of a later version.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise MamTraError(
            f"{directory} holds no token shards ({MANIFEST} is missing); make them with `mamtra prepare`."
        )
    content = read_json(path)
    if content.get("format") != FORMAT:
        shown = printable(repr(content.get("format")))
        raise MamTraError(f"{path} has format {shown}, this version reads {FORMAT}; update mamtra.")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise MamTraError(
            f"{path}: {first_problem(error)}; mend it or make the corpus again with `mamtra prepare`."
        ) from error


def _open_shard(path: Path, info: ShardInfo, verify: bool) -> dict[str, np.ndarray]:
    """Arrays of a shard by name, as views of a memory map."""
    again = "make the corpus again with `mamtra prepare`"
    if not path.is_file():
        raise MamTraError(f"The shard {path} is missing; {again}.")
    if path.stat().st_size < 8:
        raise MamTraError(f"The shard {path} is empty; {again}.")
    content = np.asarray(np.memmap(path, np.uint8, "r"))  # a plain array is sliced faster; it keeps the map open
    if verify and hashlib.sha256(content).hexdigest() != info.sha256:
        raise MamTraError(f"The shard {path} is damaged (its hash is not the manifest's); {again}.")
    try:
        begin = 8 + int(content[:8].view("<u8")[0])
        header = loads(content[8:begin].tobytes())
        arrays = {}
        for name in ("speech", "text", *_LENGTHS):
            entry = header[name]
            start, end = entry["data_offsets"]
            arrays[name] = content[begin + start : begin + end].view(_TYPES[entry["dtype"]])
        sound = all(len(arrays[name]) == info.utterances > 0 for name in _LENGTHS)
        sound &= all(arrays[f"{part}_len"].sum() == len(arrays[part]) for part in ("speech", "text"))
        sound &= all(arrays[f"{part}_len"].min() >= 0 for part in ("speech", "text"))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise MamTraError(f"The shard {path} is damaged; {again}.") from error
    if not sound:
        raise MamTraError(f"The shard {path} is damaged (its lengths do not add up); {again}.")
    return arrays


def _packed(rows: Sequence[np.ndarray]) -> np.ndarray:
    joined = np.concatenate([np.zeros(0, np.int64), *rows])
    return joined.astype(np.int16 if joined.max(initial=0) < 2**15 else np.int32)
