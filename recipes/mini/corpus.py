"""A speech corpus on disk, small enough for GPU memory: shards of concatenated audio, pitch, phonemes and speakers.

A shard is a folder with
    audio24.i16, audio16.i16   int16 samples at 24 and 16 kHz, concatenated utterances, each a whole number of 40 ms tokens
    f0.f16                     float16 pitch in Hz at 50 Hz, 0 where unvoiced (2 values per token)
    index.tsv                  id, speaker, source, tokens, phonemes
or, where only the speech tokens are needed, with
    codes.u16                  the speech tokens, instead of audio and pitch
Token i of an utterance covers samples [960 i, 960 (i + 1)) at 24 kHz, [640 i, 640 (i + 1)) at 16 kHz and mel frames 2i, 2i + 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mamtra.runtime.files import write_bytes, write_text

TOKEN_24, TOKEN_16 = 960, 640  # samples per token
SOUND, CODES = ("audio24.i16", "audio16.i16", "f0.f16"), "codes.u16"


@dataclass(frozen=True)
class Row:
    """One utterance: `start` and `tokens` count 40 ms tokens from the beginning of the corpus."""

    id: str
    speaker: str
    source: str
    tokens: int
    phonemes: str
    start: int = 0

    @property
    def key(self) -> str:
        """Names the row among all: different speakers may have read one text."""
        return f"{self.speaker}/{self.id}"


class ShardWriter:
    """Appends utterances to one shard. The index is written last, so a shard without an index is unfinished."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.rows = folder, []
        self.files = [(folder / name).open("wb") for name in SOUND]

    def add(self, id: str, speaker: str, source: str, phonemes: str, wave24: np.ndarray, f0: np.ndarray) -> None:
        """Adds float32 audio at 24 kHz and its pitch at 50 Hz; pads both with silence to a whole token."""
        import soxr

        tokens = -(-len(wave24) // TOKEN_24)
        wave24 = np.pad(wave24, (0, tokens * TOKEN_24 - len(wave24)))
        wave16 = soxr.resample(wave24, 24000, 16000)
        wave16 = np.pad(wave16, (0, max(0, tokens * TOKEN_16 - len(wave16))))[: tokens * TOKEN_16]
        f0 = np.pad(f0, (0, max(0, 2 * tokens - len(f0))))[: 2 * tokens]
        for file, samples in zip(self.files, (wave24, wave16), strict=False):
            file.write((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        self.files[2].write(f0.astype("<f2").tobytes())
        self.rows.append((id, speaker, source, str(tokens), phonemes))

    def close(self) -> None:
        for file in self.files:
            file.close()
        text = "".join("\t".join(row) + "\n" for row in self.rows)
        write_text(self.folder / "index.tsv", text)


def keep_codes(shard: Path, codes: Sequence[np.ndarray]) -> None:
    """Replace the audio and pitch of a shard by the speech tokens of its rows."""
    write_bytes(shard / CODES, np.concatenate(codes).astype("<u2").tobytes())
    for name in SOUND:
        (shard / name).unlink()


def edges(wave: np.ndarray, rate: int = 24000, keep: float = 0.08, floor_db: float = -45.0) -> slice:
    """The span of speech: frames louder than `floor_db` below the peak in 10 ms frames, widened by `keep` seconds."""
    hop = rate // 100
    frames = wave[: len(wave) // hop * hop].reshape(-1, hop)
    level = np.sqrt((frames**2).mean(1) + 1e-12)
    loud = np.flatnonzero(level > level.max() * 10 ** (floor_db / 20))
    if len(loud) == 0:
        return slice(0, len(wave))
    pad = int(keep * rate)
    return slice(max(0, loud[0] * hop - pad), min(len(wave), (loud[-1] + 1) * hop + pad))


def finished(folders: Sequence[Path]) -> list[Path]:
    """The finished shards under the folders, sorted by name."""
    return sorted(index.parent for folder in folders for index in Path(folder).rglob("index.tsv"))


def read_index(shards: Sequence[Path]) -> list[Row]:
    rows, start = [], 0
    for shard in shards:
        for line in (shard / "index.tsv").read_text(encoding="utf-8").splitlines():
            id, speaker, source, tokens, phonemes = line.split("\t")
            rows.append(Row(id, speaker, source, int(tokens), phonemes, start))
            start += int(tokens)
    return rows


class Corpus:
    """All shards with audio as tensors on the device; crops are taken by index arithmetic, without work on the host.

    Attributes: rows, audio24, audio16 (int16), f0 (float16).
    """

    def __init__(
        self, folders: Sequence[Path], device: str, parts: Sequence[str] = ("audio24", "audio16", "f0")
    ) -> None:
        import torch

        shards = [shard for shard in finished(folders) if not (shard / CODES).exists()]
        if not shards:
            raise SystemExit(f"no finished corpus shards with sound under {', '.join(map(str, folders))}")
        self.rows = read_index(shards)
        for name, suffix, dtype in (
            ("audio24", "i16", np.int16),
            ("audio16", "i16", np.int16),
            ("f0", "f16", np.float16),
        ):
            if name in parts:
                flat = [torch.from_numpy(np.fromfile(s / f"{name}.{suffix}", dtype)).to(device) for s in shards]
                setattr(self, name, torch.cat(flat))

    def hours(self) -> float:
        return sum(r.tokens for r in self.rows) * 0.04 / 3600


def drawing_weights(rows: Sequence[Row], mass: np.ndarray, fractions: Mapping[str, float]) -> np.ndarray:
    """Probabilities of drawing each row: of its mass, and so that the named sources have their fractions of the whole.

    Args:
        rows: of the corpus.
        mass: (rows,) of each, relative to others of its source.
        fractions: by source; all other sources together have the rest.
    """
    sources = np.array([row.source if row.source in fractions else "" for row in rows])
    found = mass.astype(np.float64)
    for source, fraction in {**fractions, "": 1 - sum(fractions.values())}.items():
        members = sources == source
        found[members] *= fraction / max(found[members].sum(), 1e-12)
    return found / found.sum()


def crop(flat, starts, length: int):
    """Slices of equal length out of a flat tensor. flat (N, ...), starts (B,) int64 -> (B, length, ...); positions outside
    repeat the first or last value."""
    import torch

    index = starts[:, None] + torch.arange(length, device=flat.device)
    return flat[index.clamp_(min=0, max=len(flat) - 1)]
