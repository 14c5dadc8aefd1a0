"""What cells gave, as figures with intervals: cross entropy over held-out sequences, words and characters over a set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.checkpoints.json_files import read_json
from mamtra.distill.journal import read_log
from mamtra.evaluate.score_file import read_scores
from mamtra.evaluate.statistics import difference, draws, interval, ratio
from mamtra.evaluate.summary import arrays, char_counts, word_counts
from mamtra.experiments.cells import Cell
from mamtra.experiments.make import HELD_OUT, SCORES

RULE = "english"


@dataclass(frozen=True)
class Figure:
    """A figure, its 95% bootstrap interval, and its value for every seed."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]

    def show(self, digits: int) -> str:
        """Such as 4.1 [3.2, 5.0]."""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, "ci95": [self.low, self.high], "seeds": list(self.seeds)}


@dataclass(frozen=True)
class Measured:
    """Parts and wholes of every figure, each (seeds, n): nats and tokens a sequence, errors and words an utterance, ...

    Attributes:
        pairs: by the name of the figure: parts, wholes.
        scales: by which a ratio is multiplied, by the name of the figure.
        without_sound: utterances of which there is no sound, all seeds together.
        steps: optimiser steps of the training, 0 where there was none.
        curve: (step, nats a token) on held-out utterances during the first seed's training.
    """

    pairs: dict[str, tuple[np.ndarray, np.ndarray]]
    scales: dict[str, float]
    without_sound: int
    steps: int
    curve: tuple[tuple[int, float], ...]

    def figure(self, name: str) -> Figure | None:
        """A figure over all seeds, resampled over sequences or utterances; None where it was not measured."""
        if name not in self.pairs:
            return None
        parts, wholes = self.pairs[name]
        scale = self.scales[name]
        low, high = interval(scale * ratio(parts.sum(0), wholes.sum(0), draws(parts.shape[1])))
        each = tuple(float(scale * ratio(p, w)) for p, w in zip(parts, wholes, strict=True))
        return Figure(float(scale * ratio(parts.sum(0), wholes.sum(0))), low, high, each)

    def less(self, name: str, other: Measured) -> Figure | None:
        """This figure less that of another, paired by utterance; None where either was not measured."""
        if name not in self.pairs or name not in other.pairs:
            return None
        (mine, my_wholes), (theirs, their_wholes) = self.pairs[name], other.pairs[name]
        scale = self.scales[name]
        value, (low, high) = difference(
            scale * theirs.sum(0) / len(theirs), their_wholes.sum(0) / len(theirs),
            scale * mine.sum(0) / len(mine), my_wholes.sum(0) / len(mine),
        )  # fmt: skip
        return Figure(value, low, high, ())


def read_cells(cells: Sequence[Cell], work: Path) -> Measured:
    """The figures of some cells that differ in their seeds alone; all of them are done."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    silent = 0
    for cell in cells:
        folder = work / cell.name
        held = read_json(folder / HELD_OUT)
        found.setdefault("ce", []).append((np.array(held["nats"]), np.array(held["tokens"])))
        if not (folder / SCORES).is_file():
            continue
        scores = read_scores(folder / SCORES)
        rows = [scores.rows[name] for name in sorted(scores.rows)]
        silent += sum("error" in row for row in rows)
        found.setdefault("wer", []).append(arrays(word_counts(rows, RULE)))
        found.setdefault("cer", []).append(arrays(char_counts(rows, RULE)))
        for name in ("mos", "similarity_to_prompt", "similarity_to_truth"):
            if any(name in row for row in rows):
                there = np.array([float(name in row) for row in rows])
                found.setdefault(name, []).append((np.array([row.get(name, 0.0) for row in rows]), there))
    pairs = {name: (np.stack([p for p, _ in each]), np.stack([w for _, w in each])) for name, each in found.items()}
    scales = {name: 100.0 if name in ("wer", "cer") else 1.0 for name in pairs}
    log = _log(work / cells[0].name)
    curve = tuple((line["step"], line["ce"]) for line in log if line["kind"] == "held_out" and "ce" in line)
    return Measured(pairs, scales, silent, max((line["step"] for line in log), default=0), curve)


def stamp_of(cells: Sequence[Cell], work: Path) -> dict[str, Any]:
    """By whom the cells were heard, from the first that was."""
    for cell in cells:
        if (work / cell.name / SCORES).is_file():
            stamp = read_scores(work / cell.name / SCORES).stamp
            return {key: stamp[key] for key in ("set", "set_sha256", "lines", "asr", "asr_sha256") if key in stamp}
    return {}


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Spearman's rho and its 95% bootstrap interval over the points."""
    points = np.array([one, other])

    def rho(picked: np.ndarray) -> float:
        ranks = np.array([_ranks(row[picked]) for row in points])
        spread = ranks.std(1)
        return float(np.corrcoef(ranks)[0, 1]) if spread.min() > 0 else 0.0

    n = points.shape[1]
    return rho(np.arange(n)), interval(np.array([rho(picked) for picked in draws(n)]))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places from 0, equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]


def _log(folder: Path) -> list[dict[str, Any]]:
    try:
        return read_log(folder / "training")
    except (OSError, json.JSONDecodeError):
        return []
