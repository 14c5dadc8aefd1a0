"""Score files as one HTML page that opens offline: figures with intervals, and every utterance with text, sound and spectrogram."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import align
from mamtra.evaluate.report_media import inline_media
from mamtra.evaluate.score_file import ScoreFile, differences, sound_file
from mamtra.evaluate.summary import classes, compare_scores, floor_of, summarise, word_counts
from mamtra.evaluate.text_normalizers import normaliser
from mamtra.runtime.files import write_text
from mamtra.runtime.templates import render

COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed")
BAR, GAP, HEIGHT = 38, 24, 120
"""Pixels of the chart: a bar with room for the number over it, the space between groups of bars, the highest bar."""


def write_report(files: Sequence[ScoreFile], path: Path, *, media: bool = True) -> Path:
    """Write the page.

    Args:
        files: scores of one system each; the others are compared with the first, over the utterances that both have.
        path: of the page.
        media: include sound and spectrograms, where the sound files are still there.

    Raises:
        MamTraError: no files, or one of them is empty.
    """
    if not files:
        raise MamTraError("There is nothing to report; give score files of `mamtra evaluate`.")
    names = _names(files)
    summaries = [summarise(scores) for scores in files]
    first, others = files[0], list(zip(names[1:], files[1:], strict=True))
    buckets = [(name, *item) for name, one in zip(names, summaries, strict=True) for item in one["failures"].items()]
    page = render(
        Path(__file__).with_suffix(".html.j2"),
        names=names,
        set=first.fingerprint.get("set", ""),
        unlike=[phrase for _, scores in others for phrase in differences(first.fingerprint, scores.fingerprint)],
        summaries=summaries,
        figures=list(dict.fromkeys(key for one in summaries for key in one["figures"])),
        differences=[(name, compare_scores(first, scores)) for name, scores in others],
        colours=COLOURS,
        chart=_chart(summaries),
        lengths=buckets,
        kinds=sorted({kind for *_, group in buckets for kind in group} - {"utterances", "wer_english"}),
        utterances=_utterances(files, media),
        fingerprints=[(n, json.dumps(s.fingerprint, indent=1)) for n, s in zip(names, files, strict=True)],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _names(files: Sequence[ScoreFile]) -> list[str]:
    names = [str(scores.fingerprint.get("system")) for scores in files]
    return [name if names.count(name) == 1 else scores.path.stem for name, scores in zip(names, files, strict=True)]


def _chart(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Bars of word error rate by number of words, a colour for each system, with their numbers."""
    buckets = sorted({b for s in summaries for b in s["failures"]}, key=lambda b: int(b.rstrip("+").split("-")[0]))
    top = max([group["wer_english"] for s in summaries for group in s["failures"].values()] + [1e-9])
    group, bars = BAR * len(summaries) + GAP, []
    for place, name in enumerate(buckets):
        for number, summary in enumerate(summaries):
            value = summary["failures"].get(name, {}).get("wer_english", 0.0)
            height = HEIGHT * value / top
            bars.append({
                "x": 10 + group * place + BAR * number, "y": round(155 - height, 1), "top": round(151 - height, 1),
                "width": BAR - 4, "height": round(height, 1), "colour": COLOURS[number % len(COLOURS)],
                "caption": f"{value:.1f}",
            })  # fmt: skip
    labels = [(10 + group * place, f"{name} words") for place, name in enumerate(buckets)]
    return {"width": group * len(buckets) + 10, "bars": bars, "labels": labels}


def _utterances(files: Sequence[ScoreFile], media: bool) -> list[dict[str, Any]]:
    """Rows of the table, each with a cell for every system that has the utterance."""
    floors = [floor_of(scores.rows.values()) for scores in files]
    found = []
    for key in dict.fromkeys(key for scores in files for key in scores.rows):
        rows = [scores.rows.get(key) for scores in files]
        words = len(next(row for row in rows if row)["reference"].split())
        cells = [_cell(row, floor, media) if row else None for row, floor in zip(rows, floors, strict=True)]
        found.append({"id": key, "words": words, "cells": cells})
    return found


def _cell(row: dict[str, Any], floor: float, media: bool) -> dict[str, Any]:
    (counts,) = word_counts([row], "english")
    sound = sound_file(row) if media else None
    return {
        "wer": counts.rate,
        "key": f"{counts.rate:.4f}",
        "failures": [name.replace("_", " ") for name in classes(row, floor)],
        "error": row.get("error", ""),
        "steps": _steps(row),
        "media": inline_media(sound) if sound else None,
    }


def _steps(row: dict[str, Any]) -> list[dict[str, str]]:
    """The alignment of reference and hypothesis, word by word."""
    normalise, _ = normaliser("english")
    reference, hypothesis = (normalise(row.get(side, "")).split() for side in ("reference", "hypothesis"))
    return [
        {
            "kind": step.kind,
            "was": reference[step.reference] if step.kind != "insert" else "",
            "now": hypothesis[step.hypothesis] if step.kind != "delete" else "",
        }
        for step in align(reference, hypothesis)
    ]
