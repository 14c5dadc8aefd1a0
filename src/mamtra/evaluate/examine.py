"""One utterance through all judges: a row of the score file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.audio.io import read_audio
from mamtra.errors import MamTraError
from mamtra.evaluate.failures import silence_share
from mamtra.evaluate.judges import Voices, embed_file
from mamtra.evaluate.normalise import RULES, normaliser
from mamtra.evaluate.sets import Line
from mamtra.evaluate.systems import Spoken, System
from mamtra.evaluate.transcribe import Transcriber


@dataclass
class Examiner:
    """Judges what a system says.

    Attributes:
        system: what is judged.
        transcriber: hears words.
        voices: compares voices, where wanted.
        mos: rates naturalness, where wanted.
    """

    system: System
    transcriber: Transcriber
    voices: Voices | None = None
    mos: Callable[[np.ndarray, int], float] | None = None
    _known: dict[Path, np.ndarray] = field(default_factory=dict, repr=False)

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

    def __call__(self, line: Line, seed: int | None = None) -> dict[str, Any]:
        """The row of a line. What cannot be judged says why under `error` and counts as nothing heard.

        Args:
            line: of the set.
            seed: kept in the row, where a line is spoken with several.
        """
        row: dict[str, Any] = {"id": line.id, "category": line.category, "text": line.text, "reference": line.reference}
        if seed is not None:
            row["seed"] = seed
        spent: dict[str, float] = {}
        try:
            with _timed(spent, "speaking"):
                spoken = self.system(line) if seed is None else self.system(line, seed)
        except MamTraError as error:
            return {**row, "error": str(error)}
        if spoken is None:
            return {**row, "error": "there is no sound"}
        return {**row, **self._judge(line, spoken, spent), "spent": spent}

    def _judge(self, line: Line, spoken: Spoken, spent: dict[str, float]) -> dict[str, Any]:
        samples, rate = spoken.samples, spoken.sample_rate
        silent = silence_share(samples, rate)
        seconds = len(samples) / rate
        voiced = seconds * (1 - silent)
        with _timed(spent, "transcribing"):
            heard = self.transcriber(samples, rate)
        row = {
            "heard": heard,
            "sha256": hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()[:16],
            "seconds": seconds,
            "silence_share": silent,
            "words_per_second": len(line.reference.split()) / voiced if voiced else 0.0,
            **spoken.facts,
        }
        if line.truth:
            truth, truth_rate = read_audio(line.truth)
            row["duration_ratio"] = seconds / (len(truth) / truth_rate)
        if self.voices is not None and voiced:
            with _timed(spent, "comparing voices"):
                found = self.voices(samples, rate)
                for name, path in (("similarity_to_prompt", line.prompt), ("similarity_to_truth", line.truth)):
                    if path:
                        row[name] = float(found @ embed_file(self.voices, path, self._known))
        if self.mos is not None:
            with _timed(spent, "rating"):
                row["mos"] = self.mos(samples, rate)
        return row


@contextmanager
def _timed(spent: dict[str, float], what: str) -> Iterator[None]:
    """Notes the seconds that its block takes."""
    began = time.perf_counter()
    yield
    spent[what] = round(time.perf_counter() - began, 3)
