"""Scores by utterance and seed, short enough to lie beside a table, so that every interval can be computed again from its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.paper.results import Measured, Pair, read_runs
from mamtra.paper.runs import Run

DIGITS = {"ce": 1, "wer": 0}
"""Figures that are kept, with the decimal places of their numerators: nats of a sequence, wrong words of an utterance."""


def keep_utterances(rows: Mapping[str, Sequence[Run]], work: Path) -> dict[str, Any]:
    """Numerators and denominators of cross entropy and WER.

    Returns:
        For each figure ``names``, of the sequences or utterances, and ``wholes``, their tokens or words, in their order, and by row
        ``parts``: nats or wrong words, a list of the seeds. All are numbers or names with spaces between them; what a row has no
        score of is ``-``.
    """
    every = {title: measured for title, runs in rows.items() if (measured := read_runs(runs, work)) is not None}
    return {
        figure: columns_of(figure, every) for figure in DIGITS if any(figure in row.pairs for row in every.values())
    }


def pair_of(kept: Mapping[str, Any], row: str) -> Pair:
    """The scores of a row again."""
    names, wholes = kept["names"].split(), np.array(kept["wholes"].split(), float)
    parts = [line.split() for line in kept["parts"][row]]
    there = [at for at, part in enumerate(parts[0]) if part != "-"]
    found = np.array([[float(line[at]) for at in there] for line in parts])
    return Pair([names[at] for at in there], found, np.tile(wholes[there], (len(found), 1)))


def columns_of(figure: str, every: Mapping[str, Measured]) -> dict[str, Any]:
    """One figure of `keep_utterances`."""
    pairs = {title: measured.pairs[figure] for title, measured in every.items() if figure in measured.pairs}
    wholes = {name: whole for pair in pairs.values() for name, whole in zip(pair.names, pair.wholes[0], strict=True)}
    return {
        "names": " ".join(wholes),
        "wholes": " ".join(f"{whole:.0f}" for whole in wholes.values()),
        "parts": {
            title: [_line(pair, seed, wholes, DIGITS[figure]) for seed in pair.parts] for title, pair in pairs.items()
        },
    }


def _line(pair: Pair, seed: np.ndarray, names: Mapping[str, float], digits: int) -> str:
    scored = dict(zip(pair.names, seed, strict=True))
    return " ".join(f"{scored[name]:.{digits}f}" if name in scored else "-" for name in names)
