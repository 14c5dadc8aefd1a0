"""Utterances through all judges, one or many at once: rows of the score file."""

from __future__ import annotations

import hashlib
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
from mamtra.evaluate.failure_types import silence_share
from mamtra.evaluate.judges.asr import Transcriber
from mamtra.evaluate.judges.models import RATE, SpeakerEncoder, embed_file
from mamtra.evaluate.sets import Line
from mamtra.evaluate.systems import Spoken, System
from mamtra.evaluate.text_normalizers import RULES, normaliser

READERS = 8
"""Threads that read sound of a batch."""

Take = tuple[Line, int | None]
"""A line, and its seed where there are several."""


@dataclass
class Scorer:
    """Judges what a system says.

    Attributes:
        system: what is judged.
        transcriber: hears words.
        voices: compares voices, where wanted.
        mos: rates naturalness, where wanted.
        known: vectors of recordings, which examiners with the same `voices` may share.
    """

    system: System
    transcriber: Transcriber
    voices: SpeakerEncoder | None = None
    mos: Callable[[np.ndarray, int], float] | None = None
    known: dict[Path, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def stamp(self) -> dict[str, Any]:
        """What was measured how."""
        metrics = {"similarity": getattr(self.voices, "about", None), "mos": getattr(self.mos, "about", None)}
        return {
            **self.system.about,
            **self.transcriber.about,
            "rules": {rule: normaliser(rule)[1] for rule in RULES},
            "metrics": {name: about for name, about in metrics.items() if about},
        }

    @property
    def at_once(self) -> int:
        """Lines to judge together: many where the sound is there already and the transcriber hears batches, else one."""
        return getattr(self.transcriber, "at_once", 1) if getattr(self.system, "is_there", False) else 1

    def __call__(self, line: Line, seed: int | None = None) -> dict[str, Any]:
        """The row of a line. What cannot be judged says why under `error` and counts as nothing heard.

        Args:
            line: of the set.
            seed: kept in the row, where a line is spoken with several.
        """
        return self.many([(line, seed)])[0]

    def many(self, takes: Sequence[Take]) -> list[dict[str, Any]]:
        """Rows of several lines, see `__call__`; time that judges spend on all of them is shared out evenly."""
        if len(takes) > 1 and getattr(self.system, "is_there", False):
            with ThreadPoolExecutor(READERS) as pool:
                clips = list(pool.map(self._hear, takes))
        else:
            clips = [self._hear(take) for take in takes]
        self._judge([clip for clip in clips if clip.spoken])
        return [clip.row for clip in clips]

    def _hear(self, take: Take) -> _Clip:
        line, seed = take
        row: dict[str, Any] = {"id": line.id, "category": line.category, "text": line.text, "reference": line.reference}
        if seed is not None:
            row["seed"] = seed
        spent: dict[str, float] = {}
        try:
            with _timed([spent], "speaking"):
                spoken = self.system(line) if seed is None else self.system(line, seed)
        except MamTraError as error:
            return _Clip(line, {**row, "error": str(error)})
        if spoken is None:
            return _Clip(line, {**row, "error": "there is no sound"})
        samples, rate = spoken.samples, spoken.sample_rate
        silent, seconds = silence_share(samples, rate), len(samples) / rate
        voiced = seconds * (1 - silent)
        row |= {
            "heard": "",
            "sha256": hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()[:16],
            "seconds": seconds,
            "silence_share": silent,
            "words_per_second": len(line.reference.split()) / voiced if voiced else 0.0,
            **spoken.facts,
        }
        if line.truth:
            truth, truth_rate = read_audio(line.truth)
            row["duration_ratio"] = seconds / (len(truth) / truth_rate)
        row["spent"] = spent
        return _Clip(line, row, spoken, (resample(samples, rate, RATE), RATE), voiced > 0)

    def _judge(self, clips: Sequence[_Clip]) -> None:
        """Complete the rows of clips that have sound."""
        with _timed([clip.row["spent"] for clip in clips], "transcribing"):
            for clip, heard in zip(clips, _each(self.transcriber, clips), strict=True):
                clip.row["heard"] = heard
        voiced = [clip for clip in clips if clip.voiced]
        if self.voices is not None and voiced:
            with _timed([clip.row["spent"] for clip in voiced], "comparing voices"):
                for clip, found in zip(voiced, _each(self.voices, voiced), strict=True):
                    line = clip.line
                    for name, path in (("similarity_to_prompt", line.prompt), ("similarity_to_truth", line.truth)):
                        if path:
                            clip.row[name] = float(found @ embed_file(self.voices, path, self.known))
        if self.mos is not None:
            with _timed([clip.row["spent"] for clip in clips], "rating"):
                for clip, rating in zip(clips, _each(self.mos, clips), strict=True):
                    clip.row["mos"] = rating


@dataclass
class _Clip:
    """A line on its way to its row; `sound` is what judges hear, at their rate."""

    line: Line
    row: dict[str, Any]
    spoken: Spoken | None = None
    sound: tuple[np.ndarray, int] | None = None
    voiced: bool = False


def _each(judge: Any, clips: Sequence[_Clip]) -> list[Any]:
    """What a judge finds in each clip: all at once where it can."""
    sounds = [clip.sound for clip in clips]
    return judge.many(sounds) if hasattr(judge, "many") else [judge(*sound) for sound in sounds]


@contextmanager
def _timed(shares: Sequence[dict[str, float]], what: str) -> Iterator[None]:
    """Notes the seconds that its block takes, in equal shares."""
    began = time.perf_counter()
    yield
    for spent in shares:
        spent[what] = round((time.perf_counter() - began) / len(shares), 3)
