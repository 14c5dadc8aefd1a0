"""A training's log as one HTML file: curves as SVG, settings and last figures as tables; nothing is loaded from elsewhere."""

from __future__ import annotations

import html
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

REPORT = "report.html"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 240, 60, 26
_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1f2933}
figure{display:inline-block;margin:.5rem 1rem .5rem 0}figcaption{font-weight:600}table{border-collapse:collapse}
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}pre{background:#f3f4f6;padding:1rem;overflow:auto}
text{font:11px system-ui,sans-serif;fill:#52606d}"""
_CROSS_ENTROPY = (("train", "ce", "training"), ("held_out", "ce", "held out"), ("held_out", "teacher_ce", "teacher"))
_CHARTS = (
    ("Cross entropy, nats a token", _CROSS_ENTROPY),
    ("Skew KL divergence, nats", (("train", "kl", "training"),)),
    ("Squared error of embeddings", (("train", "emb", "training"),)),
    ("Free-running word error rate", (("held_out", "wer", "student"),)),
    ("Losses of the alignment", (("train", "matrix", "matrices"), ("train", "hidden", "outputs"))),
    ("Divergence on the student's own speech", (("train", "policy", "on policy"),)),
    ("Norm of the gradient", (("train", "norm", "before clipping"),)),
    ("Learning rate", (("train", "lr", "rate"),)),
    ("Speech tokens a second", (("train", "tokens_per_second", "training"),)),
)  # fmt: skip


def write_run_report(out: Path) -> Path:
    """Draw the log of a training.

    Args:
        out: folder of the training.

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
    parts = [f"<h1>{html.escape(out.resolve().name)}</h1>", _facts(lines, about)]
    for title, curves in _CHARTS:
        series = [(label, _points(lines, kind, name)) for kind, name, label in curves]
        if any(len(points) > 1 for _, points in series):
            parts.append(_chart(title, [(label, points) for label, points in series if points]))
    if about:
        parts.append("<h2>Settings</h2><pre>" + html.escape(json.dumps(about.get("settings", {}), indent=1)) + "</pre>")
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>Training</title><style>{_STYLE}</style>"
    path = out / REPORT
    write_text(path, page + "\n".join(parts) + "</html>\n")
    return path


def _points(lines: Sequence[dict[str, Any]], kind: str, name: str) -> list[tuple[float, float]]:
    return [(line["step"], line[name]) for line in lines if line["kind"] == kind and line.get(name) is not None]


def _facts(lines: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    start = next((line for line in lines if line["kind"] == "start"), {})
    last = {line["kind"]: line for line in lines}
    rows = {**{k: v for k, v in start.items() if k not in ("kind", "step")}}
    rows |= {
        f"last {kind} {name}": value
        for kind in ("train", "held_out")
        for name, value in last.get(kind, {}).items()
        if name != "kind"
    }
    rows |= {name: about[name] for name in ("epochs", "minutes", "device", "processes") if name in about}
    cells = "".join(f"<tr><td>{html.escape(k.replace('_', ' '))}<td>{html.escape(_shown(v))}" for k, v in rows.items())
    return f"<table>{cells}</table>"


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _chart(title: str, series: Sequence[tuple[str, list[tuple[float, float]]]]) -> str:
    """One SVG with a curve a series; the greatest percent of spikes runs out of the picture."""
    every = sorted(y for _, points in series for _, y in points if math.isfinite(y))
    low, high = every[0], every[min(len(every) - 1, int(0.99 * len(every)))]
    high = high if high > low else low + 1
    right = max(x for _, points in series for x, _ in points) or 1

    def place(x: float, y: float) -> str:
        along = _LEFT + (_WIDTH - _LEFT - 10) * x / right
        up = (_HEIGHT - _BOTTOM) - (_HEIGHT - _BOTTOM - 12) * (min(y, high) - low) / (high - low)
        return f"{along:.1f},{up:.1f}"

    drawn = []
    for i in range(5):
        value = low + (high - low) * i / 4
        _, y = place(0, value).split(",")
        drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y}" y2="{y}" stroke="#e5e7eb"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{value:.4g}</text>')
    drawn.append(f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 6}" text-anchor="end">step {right:g}</text>')
    for i, (label, points) in enumerate(series):
        colour = _COLOURS[i % len(_COLOURS)]
        path = " ".join(place(x, y) for x, y in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        drawn.append(
            f'<text x="{_LEFT + 8 + 110 * i}" y="{_HEIGHT - 6}" style="fill:{colour}">{html.escape(label)}</text>'
        )
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    return f"<figure><figcaption>{title}</figcaption><svg {size}>{''.join(drawn)}</svg></figure>"
