"""What rounding does to the words of the embedded voice: sentences spoken with each option of the engine, transcribed."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamtra.engine.engine import Engine
from mamtra.evaluate.judges.asr import Transcriber
from mamtra.synthesis.batch import Batch
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.retries import ONCE
from mamtra.tts import TTS

BASELINE = "float32"
WAYS: Mapping[str, Mapping[str, Any]] = {
    BASELINE: {},
    "int8 weights": {"weights": "int8"},
    "fp8 weights": {"weights": "fp8"},
    "bfloat16 states": {"ssm_dtype": torch.bfloat16},
}
"""Options of the engine by the names in the tables."""
ROWS = 25


def transcribe(
    tts: TTS, texts: Mapping[str, str], listen: Transcriber, work: Path, seconds: float
) -> dict[str, dict[str, str]]:
    """What is heard of every text said with the seed of its place in every way, by way and id, as far as the time allows.

    Each segment is tried once. Finished texts are kept in `work`; sound that is that of the baseline to the bit is not transcribed
    again.
    """
    work.mkdir(parents=True, exist_ok=True)
    until, files = time.monotonic() + seconds, {way: work / f"{way.replace(' ', '-')}.jsonl" for way in WAYS}
    rows = {
        way: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        for way, path in files.items()
    }
    known = {row["id"]: row for row in rows[BASELINE]}
    for start in range(0, len(texts), ROWS):
        part = list(enumerate(texts))[start : start + ROWS]
        for way in WAYS:
            if len(rows[way]) > start or time.monotonic() > until:
                continue
            spoken = say_together(tts, way, [texts[name] for _, name in part], [seed for seed, _ in part])
            for (_, name), samples in zip(part, spoken, strict=True):
                sound = hashlib.sha256(samples.tobytes()).hexdigest()
                same = name in known and known[name]["sound"] == sound
                heard = known[name]["text"] if same else listen(samples, tts.sample_rate)
                rows[way].append({"id": name, "text": heard, "sound": sound})
                known.setdefault(name, rows[way][-1])
            files[way].write_text("".join(json.dumps(row) + "\n" for row in rows[way]), encoding="utf-8")
    return {way: {row["id"]: row["text"] for row in found} for way, found in rows.items()}


def same_sounds(work: Path) -> dict[str, int]:
    """Texts whose sound is that of the baseline to the bit, by way."""
    sounds = {
        way: {row["id"]: row["sound"] for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
        for way in WAYS
        if (path := work / f"{way.replace(' ', '-')}.jsonl").exists()
    }
    base = sounds[BASELINE]
    return {
        way: sum(base.get(i) == sound for i, sound in found.items()) for way, found in sounds.items() if way != BASELINE
    }


def capacity(tts: TTS, ids: Sequence[Sequence[int]]) -> int:
    """Positions that a stream needs at most, to speak one of the segments in the default voice."""
    return 2 + sum(map(len, tts.voice().lm_prompt)) + max(len(n) + tts.model.generation.longest(len(n)) for n in ids)


def say_together(tts: TTS, way: str, texts: Sequence[str], seeds: Sequence[int]) -> Iterator[np.ndarray]:
    """Samples of each text, all decoded side by side in one way."""
    model: Model = tts.model
    segments = [model.text.segments(text) for text in texts]
    ids = [segment.ids for row in segments for segment in row]
    lm, room = copy.deepcopy(model.lm), capacity(tts, ids)
    engine = Engine(lm, slots=len(ids), capacity=room, deterministic=False, **WAYS[way])
    with engine:
        batch = Batch(engine, 2 * len(texts), 1)
        for seed, row in zip(seeds, segments, strict=True):
            batch.add(Request(model, tts.voice(), seed, retries=ONCE), row)
        for _, chunks in batch.finished(last=True):
            yield np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in chunks)])
