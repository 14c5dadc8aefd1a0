"""How well several ways of computing one voice are understood: sentences spoken, transcribed, and compared in pairs."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mamtra import load
from mamtra.evaluate.error_rates import count_errors, english_normaliser
from mamtra.evaluate.judges.asr import Transcriber
from mamtra.evaluate.statistics import difference, interval, ratio, resamples

BASELINE = "torch"
WAYS: Mapping[str, Mapping[str, Any]] = {
    BASELINE: {"runtime": "torch", "device": "cpu"},
    "onnx": {"model": "mini", "runtime": "onnx", "int8_lm": False},
    "onnx, int8 LM": {"model": "mini", "runtime": "onnx"},
    "onnx, 5 flow steps": {"runtime": "onnx", "flow_steps": 5, "int8_lm": False},
}
"""Options of `mamtra.load` by the names in the tables."""


def read_sentences(path: Path, count: int) -> dict[str, tuple[str, str]]:
    """The first texts of a list with the columns id, text and spoken, and what is to be heard, by id."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))[:count]
    return {row["id"]: (row["text"], row["spoken"]) for row in rows}


def transcribe(
    sentences: Mapping[str, tuple[str, str]], voice: str, work: Path, listen: Transcriber, seconds: float
) -> dict[str, dict[str, str]]:
    """What is heard of every sentence said with seed 0 in every way, by way and id, as far as the time allows.

    Finished sentences are kept in `work`, a line of JSON each, and are not spoken again.

    Args:
        sentences: by id.
        voice: name.
        work: folder.
        listen: the transcriber.
        seconds: until no further sentence is begun.
    """
    work.mkdir(parents=True, exist_ok=True)
    until, files = (
        time.monotonic() + seconds,
        {way: work / f"{way.replace(', ', '-').replace(' ', '-')}.jsonl" for way in WAYS},
    )
    rows = {way: path.read_text(encoding="utf-8").splitlines() if path.exists() else [] for way, path in files.items()}
    heard = {way: {row["id"]: row["text"] for row in map(json.loads, found)} for way, found in rows.items()}
    opened = lru_cache(lambda way: load(**WAYS[way]))
    for name, (text, _) in sentences.items():
        for way in (way for way in WAYS if name not in heard[way] and time.monotonic() < until):
            audio = opened(way).say(text, voice, seed=0)
            heard[way][name] = listen(audio.samples, audio.sample_rate)
            with files[way].open("a", encoding="utf-8") as file:
                file.write(json.dumps({"id": name, "text": heard[way][name]}) + "\n")
    return heard


def compare(
    sentences: Mapping[str, tuple[str, str]], heard: Mapping[str, Mapping[str, str]], baseline: str = BASELINE
) -> dict[str, Any]:
    """Word error rates in percent with intervals, and paired differences to the baseline, over what was heard in all ways."""
    (rule, about), ids = english_normaliser(), [i for i in sentences if all(i in texts for texts in heard.values())]
    counts = {way: [count_errors(sentences[i][1], texts[i], rule) for i in ids] for way, texts in heard.items()}
    errors = {way: np.array([count[0] for count in found], float) for way, found in counts.items()}
    words = np.array([count[1] for count in counts[baseline]], float)
    picked, base = resamples(len(ids)), errors[baseline]

    def in_percent(middle: float, ends: tuple[float, float]) -> list[float]:
        return [100 * float(value) for value in (middle, *ends)]

    rates = {way: in_percent(ratio(e, words), interval(ratio(e, words, picked))) for way, e in errors.items()}
    others = {way: found for way, found in errors.items() if way != baseline}
    differences = {way: in_percent(*difference(base, words, found, words)) for way, found in others.items()}
    return {"sentences": len(ids), "normaliser": about, "wer": rates, "differences": differences}
