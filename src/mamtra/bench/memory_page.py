"""Page and figure of `mamtra bench memory`, made from its JSON alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import footnote, markdown_table

GOALS = {("1:1", "engine", 1): 0.85e9, ("1:1", "engine, int8 weights", 1): 0.50e9}
"""Bytes, by ratio, system and streams."""
AGAINST_TEACHER = {"1:1": 0.60, "1:5": 0.35}
"""Of many streams."""
PARTS = {
    "weights_bytes": ("weights", "#4477aa"),
    "state_bytes": ("cache and states", "#ee8866"),
    "rest": ("work", "#bbbbbb"),
}


def render(result: dict[str, Any]) -> str:
    """Markdown."""
    rows = result["rows"]
    size = "A tiny model" if result["tiny"] else "The LM of CosyVoice 2 (24 layers of 896)"
    table = (
        (row["system"], row["ratio"], row["streams"], row["positions"], *(f"{row[part] / 1e9:.3f}" for part in list(PARTS)[:2]),
         f"{row['peak_bytes'] / 1e9:.3f}")
        for row in rows
    )  # fmt: skip
    parts = [
        "# GPU memory of the language model",
        "![GPU memory of the language model](bench_memory.svg)",
        f"{size} with random weights on {result['device']}, bfloat16 unless a row says more. Ratios are attention to Mamba layers; "
        "1:0 is the all-attention teacher. GB; weights are those on the GPU, and the peak is that of torch's allocator.\n\n"
        "One stream feeds 250 inputs and makes 250 tokens. Many streams have all their slots in use, with inputs of 1,024 "
        "positions and a few tokens. The engine has the text table in host memory, as a loaded model has. `loaded as the original` "
        "is rebuilt from the shapes: float32 weights, text table and text head on the GPU, and with `fp16=True` every call under "
        "autocast. transformers has the text table on the GPU and no head.",
        markdown_table(("system", "ratio", "streams", "positions", "weights", "cache and states", "peak"), table),
    ]
    goals = [*_goals(rows), *_against_teacher(rows)]
    if goals:
        parts += ["## Goals", markdown_table(("figure", "reached", "goal"), goals)]
    return "\n\n".join([*parts, footnote(result)]) + "\n"


def _goals(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    found = {(row["ratio"], row["system"], row["streams"]): row["peak_bytes"] for row in rows}
    return [
        (f"{ratio}, {system}, one stream, GB", f"{found[ratio, system, n] / 1e9:.2f}", f"{goal / 1e9:.2f}")
        for (ratio, system, n), goal in GOALS.items()
        if found.get((ratio, system, n))
    ]


def _against_teacher(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    peaks = {row["ratio"]: row["peak_bytes"] for row in rows if row["system"] == "engine" and row["streams"] > 1}
    teacher = peaks.get("1:0")
    return [
        (f"{ratio} against the teacher, many streams", f"{peaks[ratio] / teacher:.2f}", f"{goal:.2f}")
        for ratio, goal in AGAINST_TEACHER.items()
        if teacher and ratio in peaks
    ]


def draw(result: dict[str, Any], path: Path) -> None:
    """Bars of one stream on the left, of many on the right."""
    with canvas(path, (9, 3.6)) as figure:
        for at, many in enumerate((False, True)):
            rows = [row for row in result["rows"] if (row["streams"] > 1) == many]
            axes, left = figure.add_subplot(1, 2, at + 1), [0.0] * len(rows)
            names = [f"{row['system']}, {row['ratio']}" for row in rows]
            for part, (label, colour) in PARTS.items():
                sizes = [
                    row[part] / 1e9 if part in row else max(0.0, row["peak_bytes"] / 1e9 - left[i])
                    for i, row in enumerate(rows)
                ]
                axes.barh(names, sizes, left=left, color=colour, label=label)
                left = [a + b for a, b in zip(left, sizes, strict=True)]
            axes.invert_yaxis()
            axes.tick_params(labelsize=7)
            axes.set_xlabel("GB", fontsize=8)
            count = rows[0] if rows else {"streams": 0, "positions": 0}
            axes.set_title(f"{count['streams']} x {count['positions']:,} positions", fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            if not many:
                axes.legend(fontsize=7, frameon=False)
