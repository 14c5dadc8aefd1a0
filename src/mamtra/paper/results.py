"""Results of runs as figures with intervals: cross entropy over the validation set, WER and CER over a test set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mamtra.distill.log import read_log
from mamtra.errors import MamTraError
from mamtra.evaluate.score_file import read_scores
from mamtra.evaluate.statistics import difference, interval, ratio, resamples
from mamtra.evaluate.summary import arrays, char_counts, word_counts
from mamtra.paper.runs import Run
from mamtra.paper.settings import ExperimentSettings
from mamtra.paper.stages import SCORES, VALIDATION
from mamtra.runtime.json_files import read_json

RULE = "english"
UNCORRECTED = "Intervals are 95% each, not corrected for the number of comparisons."
Title = TypeVar("Title")


@dataclass(frozen=True)
class Figure:
    """A figure, its 95% bootstrap interval, its value for every seed, and over how many sequences or utterances it goes."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    count: int

    @classmethod
    def read(cls, content: dict[str, Any]) -> Figure:
        """From what `content` gave."""
        return cls(content["value"], *content["ci95"], tuple(content["seeds"]), content["count"])

    @classmethod
    def of_columns(cls, row: dict[str, Any], name: str) -> Figure | None:
        """From the columns of a table of data; None where it has none of this name."""
        if name not in row:
            return None
        return cls(row[name], row[f"{name}_low"], row[f"{name}_high"], (), row.get(f"{name}_of", 0))

    def show(self, digits: int, whole: int | None = None) -> str:
        """Such as 4.1 [3.2, 5.0]; with the count where that is less than the whole."""
        part = f" (of {self.count})" if whole and self.count < whole else ""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]{part}"

    def columns(self, name: str) -> dict[str, float]:
        """Value and interval as columns of a table of data."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, "ci95": [self.low, self.high], "seeds": list(self.seeds), "count": self.count}


class Pair(NamedTuple):
    """Numerators and denominators of a figure, each (seeds, n), by sequence or utterance: nats and tokens, errors and words, ..."""

    names: list[str]
    parts: np.ndarray
    wholes: np.ndarray

    def only(self, names: Sequence[str]) -> Pair:
        """Of some of the utterances."""
        chosen = [self.names.index(name) for name in names]
        return Pair(list(names), self.parts[:, chosen], self.wholes[:, chosen])


@dataclass(frozen=True)
class Measured:
    """Results of runs that differ only in their seeds.

    Attributes:
        pairs: by name of the figure.
        without_sound: utterances without any speech, summed over seeds.
        steps: optimiser steps of the training, 0 where there was none.
        curve: (step, cross entropy per speech token) on the validation set during the training of the first seed.
        training: of the first seed: training utterances, minutes, cross entropy of the last training batches.
    """

    pairs: dict[str, Pair]
    without_sound: int
    steps: int
    curve: tuple[tuple[int, float], ...]
    training: dict[str, float]

    def columns(self, names: Iterable[str]) -> dict[str, float]:
        """Figures as columns of a table of data; those that were not measured are left out."""
        row: dict[str, float] = {}
        for name in names:
            figure = self.figure(name)
            if figure is not None:
                row |= figure.columns(name)
                row |= {f"{name}_seeds": len(figure.seeds), f"{name}_of": figure.count}
                row[f"{name}_by_seed"] = " ".join(f"{one:.5g}" for one in figure.seeds)
        return row | {"without_sound": self.without_sound, "steps": self.steps, **self.training}

    def contents(self, names: Iterable[str]) -> dict[str, Any]:
        """Figures for JSON; those that were not measured are left out."""
        return {name: self.figure(name).content() for name in names if name in self.pairs}

    def figure(self, name: str) -> Figure | None:
        """A figure over all seeds, resampled over sequences or utterances; None where it was not measured."""
        if name not in self.pairs:
            return None
        names, parts, wholes = self.pairs[name]
        scale = _SCALES.get(name, 1.0)
        low, high = interval(scale * ratio(parts.sum(0), wholes.sum(0), resamples(len(names))))
        each = tuple(float(scale * ratio(p, w)) for p, w in zip(parts, wholes, strict=True))
        return Figure(float(scale * ratio(parts.sum(0), wholes.sum(0))), low, high, each, len(names))

    def difference(self, name: str, other: Measured) -> Figure | None:
        """This figure minus that of another, over the utterances that both have; None where there are none."""
        if name not in self.pairs or name not in other.pairs:
            return None
        shared = [one for one in self.pairs[name].names if one in set(other.pairs[name].names)]
        if not shared:
            return None
        mine, theirs = self.pairs[name].only(shared), other.pairs[name].only(shared)
        scale = _SCALES.get(name, 1.0)
        value, (low, high) = difference(
            scale * theirs.parts.mean(0), theirs.wholes.mean(0), scale * mine.parts.mean(0), mine.wholes.mean(0)
        )
        return Figure(value, low, high, (), len(shared))


_SCALES = {"wer": 100.0, "cer": 100.0}
_RATED = ("mos", "similarity_to_prompt", "similarity_to_ground_truth")


def read_runs(runs: Sequence[Run], work: Path) -> Measured | None:
    """The results of those runs that are trained, which differ only in their seeds; None where none is.

    Utterances that were not scored for all seeds are left out.
    """
    made = [run for run in runs if (work / run.name / VALIDATION).is_file()]
    if not made:
        return None
    found: dict[str, list[Pair]] = {}
    silent = 0
    for run in made:
        folder = work / run.name
        reference = read_json(folder / VALIDATION)
        nats = np.array([reference["nats"], reference["tokens"]])
        found.setdefault("ce", []).append(_pair(map(str, range(nats.shape[1])), *nats))
        if not (folder / SCORES).is_file():
            continue
        rows = read_scores(folder / SCORES).rows
        silent += sum("error" in row for row in rows.values())
        found.setdefault("wer", []).append(_pair(rows, *arrays(word_counts(rows.values(), RULE))))
        found.setdefault("cer", []).append(_pair(rows, *arrays(char_counts(rows.values(), RULE))))
        for name in _RATED:
            rated = {key: row[name] for key, row in rows.items() if name in row}
            if rated:
                found.setdefault(name, []).append(_pair(rated, np.array([*rated.values()]), np.ones(len(rated))))
    log = _log(work / made[0].name)
    curve = tuple((line["step"], line["ce"]) for line in log if line["kind"] == "validation" and "ce" in line)
    pairs = {name: _together(each) for name, each in found.items()}
    return Measured(pairs, silent, max((line["step"] for line in log), default=0), curve, _training(log))


def finished(groups: Mapping[Title | None, Sequence[Run]], work: Path) -> tuple[Measured, dict[Title, Measured]]:
    """The teacher, whose runs are under None, and all groups with a trained run.

    Raises:
        MamTraError: no group has a trained run, or the teacher is not measured.
    """
    every = {title: read_runs(runs, work) for title, runs in groups.items()}
    teacher = every.pop(None)
    found = {title: measured for title, measured in every.items() if measured is not None}
    if teacher is None or not found:
        raise MamTraError(f"{work} holds no finished training of this figure.")
    return teacher, found


def _training(log: Sequence[dict[str, Any]]) -> dict[str, float]:
    first = {line["kind"]: line for line in reversed(log)}
    last = {line["kind"]: line for line in log}
    places = {
        "utterances": (first, "start", "utterances"),
        "minutes": (last, "end", "minutes"),
        "train_ce": (last, "train", "ce"),
    }
    return {name: lines[kind][key] for name, (lines, kind, key) in places.items() if key in lines.get(kind, {})}


def _pair(names: Iterable[str], parts: np.ndarray, wholes: np.ndarray) -> Pair:
    return Pair([str(name) for name in names], parts[None], wholes[None])


def _together(each: Sequence[Pair]) -> Pair:
    shared = set.intersection(*(set(pair.names) for pair in each))
    parts = [pair.only([name for name in each[0].names if name in shared]) for pair in each]
    return Pair(parts[0].names, np.concatenate([p.parts for p in parts]), np.concatenate([p.wholes for p in parts]))


def made_by(name: str, settings: ExperimentSettings, groups: Mapping[Any, list[Run]], work: Path) -> dict[str, Any]:
    """With what a study was made: hardware of its training runs, recogniser and test set of the first scored one, settings."""
    runs = [run for members in groups.values() for run in members]
    trained = [work / run.name / VALIDATION for run in runs if run.config is not None]
    machines = sorted({read_json(path)["made_on"] for path in trained if path.is_file()})
    kept = settings.model_dump(mode="json", include={"distill", "transfer", "evaluation", name})
    return {"made_on": machines, "scored_by": _scored_by(runs, work), "settings": kept}


def show_made_by(found: dict[str, Any]) -> str:
    """`made_by` as a line of a page."""
    scored = found["scored_by"]
    asr = f" Scored with {scored['asr']} on the first {scored['lines']} of {scored['set']}." if "asr" in scored else ""
    machine = f"Trained on {'; '.join(found['made_on'])}." if found["made_on"] else ""
    return f"{machine}{asr} {UNCORRECTED}".strip()


def _scored_by(runs: Sequence[Run], work: Path) -> dict[str, Any]:
    for run in runs:
        if (work / run.name / SCORES).is_file():
            found = read_scores(work / run.name / SCORES).fingerprint
            return {key: found[key] for key in ("set", "set_sha256", "lines", "asr", "asr_sha256") if key in found}
    return {}


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Spearman's rho and its 95% bootstrap interval over the points."""
    points = np.array([one, other])

    def rho(picked: np.ndarray) -> float:
        ranks = np.array([_ranks(row[picked]) for row in points])
        spread = ranks.std(1)
        return float(np.corrcoef(ranks)[0, 1]) if spread.min() > 0 else 0.0

    n = points.shape[1]
    return rho(np.arange(n)), interval(np.array([rho(picked) for picked in resamples(n)]))


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
