"""The log of a training run as one self-contained HTML file: curves as SVG, settings and last values as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mamtra.checkpoints.native import PROVENANCE
from mamtra.distill.export import STUDENT
from mamtra.distill.log import read_log
from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text
from mamtra.runtime.json_files import read_json
from mamtra.runtime.templates import render

REPORT = "report.html"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 240, 60, 26
_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626")
_CROSS_ENTROPY = (
    ("train", "ce", "training"),
    ("validation", "ce", "validation"),
    ("validation", "teacher_ce", "teacher"),
)
_CHARTS = (
    ("Cross entropy per speech token", _CROSS_ENTROPY),
    ("Skew KL divergence per speech token", (("train", "kl", "training"),)),
    ("Mean squared error of embeddings", (("train", "emb", "training"),)),
    ("Free-running word error rate", (("validation", "wer", "student"),)),
    ("Alignment losses", (("train", "matrix", "mixing matrices"), ("train", "hidden", "mixer outputs"))),
    ("Divergence on speech tokens sampled from the student", (("train", "policy", "on policy"),)),
    ("Mean squared error of the average velocity", (("train", "velocity", "training"),)),
    ("Gradient norm", (("train", "norm", "before clipping"),)),
    ("Learning rate", (("train", "lr", "rate"),)),
    ("Speech tokens per second", (("train", "tokens_per_second", "training"),)),
)  # fmt: skip


def write_run_report(out: Path) -> Path:
    """Draw the log of a training.

    Returns:
        The file in it.

    Raises:
        MamTraError: there is no log.
    """
    lines = read_log(out)
    if not lines:
        raise MamTraError(f"{out} holds no log of a training.")
    found = out / STUDENT / PROVENANCE
    about = read_json(found).get("distillation", {}) if found.is_file() else {}
    charts = []
    for title, curves in _CHARTS:
        series = [(label, _points(lines, kind, name)) for kind, name, label in curves]
        if any(len(points) > 1 for _, points in series):
            charts.append(_chart(title, [(label, points) for label, points in series if points]))
    settings = json.dumps(about.get("settings", {}), indent=1) if about else None
    path, template = out / REPORT, Path(__file__).with_suffix(".html.j2")
    size = {"width": _WIDTH, "height": _HEIGHT, "left": _LEFT}
    write_text(path, render(template, name=out.resolve().name, facts=_facts(lines, about), charts=charts, size=size,
                            settings=settings))  # fmt: skip
    return path


def _points(lines: Sequence[dict[str, Any]], kind: str, name: str) -> list[tuple[float, float]]:
    return [(line["step"], line[name]) for line in lines if line["kind"] == kind and line.get(name) is not None]


def _facts(lines: Sequence[dict[str, Any]], about: dict[str, Any]) -> dict[str, str]:
    start = next((line for line in lines if line["kind"] == "start"), {})
    last = {line["kind"]: line for line in lines}
    rows = {name: value for name, value in start.items() if name not in ("kind", "step")}
    rows |= {
        f"last {kind} {name}": value
        for kind in ("train", "validation")
        for name, value in last.get(kind, {}).items()
        if name != "kind"
    }
    rows |= {name: about[name] for name in ("epochs", "minutes", "device", "processes") if name in about}
    return {name.replace("_", " "): f"{v:.5g}" if isinstance(v, float) else str(v) for name, v in rows.items()}


def _chart(title: str, series: Sequence[tuple[str, list[tuple[float, float]]]]) -> dict[str, Any]:
    """A curve a series, in pixels; the greatest percent of spikes runs out of the picture."""
    every = sorted(y for _, points in series for _, y in points if math.isfinite(y))
    low, high = every[0], every[min(len(every) - 1, int(0.99 * len(every)))]
    high = high if high > low else low + 1
    right = max(x for _, points in series for x, _ in points) or 1

    def along(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 10) * x / right

    def up(y: float) -> float:
        return (_HEIGHT - _BOTTOM) - (_HEIGHT - _BOTTOM - 12) * (min(y, high) - low) / (high - low)

    values = [low + (high - low) * i / 4 for i in range(5)]
    return {
        "title": title,
        "ticks": [(f"{up(value):.1f}", f"{value:.4g}") for value in values],
        "right": f"{right:g}",
        "curves": [
            (label, colour, " ".join(f"{along(x):.1f},{up(y):.1f}" for x, y in points))
            for (label, points), colour in zip(series, _COLOURS, strict=False)
        ],
    }
