"""Utterances through all judges, one by one or in batches: rows of the score file."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.audio.io import read_audio, resample
from mamtra.errors import MamTraError
from mamtra.evaluate.adapters.open import SystemFailure
from mamtra.evaluate.failure_types import silence_share
from mamtra.evaluate.judges.asr import Transcriber
from mamtra.evaluate.judges.batches import judge_all
from mamtra.evaluate.judges.models import RATE, SpeakerEncoder, embed_file
from mamtra.evaluate.sets import Line
from mamtra.evaluate.systems import Spoken, System
from mamtra.evaluate.text_normalizers import RULES, normaliser

READ_THREADS = 8
"""Threads that read the sound files of a batch."""

Take = tuple[Line, int | None]
"""A line, and the seed where there are several."""


@dataclass
class Scorer:
    """Scores the speech of a system.

    Attributes:
        system: what is evaluated.
        transcriber: ASR.
        speaker_encoder: for speaker similarities, where wanted.
        rater: of naturalness, where wanted.
        embeddings: of the set's recordings, which scorers with the same speaker encoder may share.
    """

    system: System
    transcriber: Transcriber
    speaker_encoder: SpeakerEncoder | None = None
    rater: Callable[[np.ndarray, int], float] | None = None
    embeddings: dict[Path, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What was measured how."""
        judges = {"similarity": self.speaker_encoder, "mos": self.rater}
        return {
            **self.system.about,
            **self.transcriber.about,
            "rules": {rule: normaliser(rule)[1] for rule in RULES},
            "metrics": {name: judge.about for name, judge in judges.items() if hasattr(judge, "about")},
        }

    @property
    def batch_size(self) -> int:
        """Lines that are scored together: several where the system reads files and the transcriber takes batches, else one."""
        return getattr(self.transcriber, "batch_size", 1) if getattr(self.system, "from_files", False) else 1

    def __call__(self, line: Line, seed: int | None = None) -> dict[str, Any]:
        """The row of a line. What cannot be scored says why under `error`; its hypothesis counts as empty.

        Args:
            line: of the set.
            seed: kept in the row, where a line is spoken with several.
        """
        return self.many([(line, seed)])[0]

    def many(self, takes: Sequence[Take]) -> list[dict[str, Any]]:
        """Rows of several lines, see `__call__`; the seconds that judges spend on a batch are divided evenly."""
        if len(takes) > 1 and getattr(self.system, "from_files", False):
            with ThreadPoolExecutor(READ_THREADS) as pool:
                clips = list(pool.map(self._open, takes))
        else:
            clips = [self._open(take) for take in takes]
        self._judge([clip for clip in clips if clip.spoken])
        return [clip.row for clip in clips]

    def _open(self, take: Take) -> _Clip:
        line, seed = take
        row: dict[str, Any] = {"id": line.id, "category": line.category, "text": line.text, "reference": line.reference}
        if seed is not None:
            row["seed"] = seed
        spent: dict[str, float] = {}
        try:
            with _timed([spent], "speaking"):
                spoken = self.system(line) if seed is None else self.system(line, seed)
        except SystemFailure:
            raise
        except MamTraError as error:
            return _Clip(line, {**row, "error": str(error)})
        if spoken is None:
            return _Clip(line, {**row, "error": "there is no sound"})
        samples, rate = spoken.samples, spoken.sample_rate
        silent, seconds = silence_share(samples, rate), len(samples) / rate
        voiced = seconds * (1 - silent)
        row |= {
            "hypothesis": "",
            "sha256": hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()[:16],
            "seconds": seconds,
            "silence_share": silent,
            "words_per_second": len(line.reference.split()) / voiced if voiced else 0.0,
            **spoken.facts,
        }
        if line.ground_truth:
            recording, recording_rate = read_audio(line.ground_truth)
            row["duration_ratio"] = seconds / (len(recording) / recording_rate)
        row["spent"] = spent
        return _Clip(line, row, spoken, (resample(samples, rate, RATE), RATE), voiced > 0)

    def _judge(self, clips: Sequence[_Clip]) -> None:
        """Complete the rows of clips that have sound."""
        with _timed([clip.row["spent"] for clip in clips], "transcribing"):
            for clip, hypothesis in zip(clips, _each(self.transcriber, clips), strict=True):
                clip.row["hypothesis"] = hypothesis
        voiced = [clip for clip in clips if clip.voiced]
        if self.speaker_encoder is not None and voiced:
            with _timed([clip.row["spent"] for clip in voiced], "comparing voices"):
                for clip, embedding in zip(voiced, _each(self.speaker_encoder, voiced), strict=True):
                    for name, path in (("prompt", clip.line.prompt), ("ground_truth", clip.line.ground_truth)):
                        if path:
                            recorded = embed_file(self.speaker_encoder, path, self.embeddings)
                            clip.row[f"similarity_to_{name}"] = float(embedding @ recorded)
        if self.rater is not None:
            with _timed([clip.row["spent"] for clip in clips], "rating"):
                for clip, rating in zip(clips, _each(self.rater, clips), strict=True):
                    clip.row |= {"mos": rating} if math.isfinite(rating) else {}


@dataclass
class _Clip:
    """A line and its row so far; `sound` is what judges get, at their rate."""

    line: Line
    row: dict[str, Any]
    spoken: Spoken | None = None
    sound: tuple[np.ndarray, int] | None = None
    voiced: bool = False


def _each(judge: Any, clips: Sequence[_Clip]) -> list[Any]:
    return judge_all(judge, [clip.sound for clip in clips if clip.sound is not None])


@contextmanager
def _timed(shares: Sequence[dict[str, float]], what: str) -> Iterator[None]:
    """Divides the seconds that its block takes evenly."""
    began = time.perf_counter()
    yield
    for spent in shares:
        spent[what] = round((time.perf_counter() - began) / len(shares), 3)
