"""Page and figure of `mamtra bench latency`, made from its JSON alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import footnote, markdown_table

TIMES = 12
"""Goal: so many times faster at once than one by one."""


def render(result: dict[str, Any]) -> str:
    """Markdown."""
    rows = result["rows"]
    size = "a tiny model" if result["tiny"] else "the LM of CosyVoice 2 (24 layers of 896, random weights, bfloat16)"
    parts = ["# Latency on a GPU", "![Latency on a GPU](bench_latency.svg)",
             f"On {result['device']}. Wall time in a process that has warmed up, the host's launches included."]  # fmt: skip
    texts = [row for row in rows if "seconds" in row]
    if texts:
        alone = texts[0]["seconds"]["median"] / texts[0]["audio_seconds"]
        parts += [
            "## The embedded voice, many texts",
            f"`one by one` calls `say` for each, `at once` is a batch, `from threads` calls `say` from as many threads. The "
            f"goal is {TIMES} times as fast at once, by seconds of audio a second.",
            markdown_table(
                ("way", "texts", "audio, s", "seconds (range)", "audio s / s", "times as fast"),
                (
                    (row["voice"], row["texts"], f"{row['audio_seconds']:.1f}", _shown(row["seconds"], 3),
                     f"{row['audio_seconds'] / row['seconds']['median']:.1f}",
                     f"{alone / (row['seconds']['median'] / row['audio_seconds']):.1f}")
                    for row in texts
                ),
            ),
        ]  # fmt: skip
    spent = [row for row in rows if "part" in row]
    if texts and spent:
        together = next(row for row in texts if row["voice"] == "at once")
        whole, audio = together["seconds"]["median"], together["audio_seconds"]
        parts += [
            "Parts of the texts at once, each measured by itself, and how many times as fast they would be without it:",
            markdown_table(
                ("part", "seconds (range)", "share", "times as fast without"),
                (
                    (row["part"], _shown(row["spent"], 3), f"{row['spent']['median'] / whole:.0%}",
                     f"{alone * audio / max(1e-9, whole - row['spent']['median']):.1f}")
                    for row in spent
                ),
            ),
        ]  # fmt: skip
    sound = [row for row in rows if "first_sound" in row]
    if sound:
        parts += [
            "## The embedded voice, first sound of a stream",
            "Milliseconds from the call of `stream` to its first chunk, of streams that begin at the same moment.",
            markdown_table(
                ("streams", "median (range)", "95th percentile"),
                ((row["streams"], _shown(row["first_sound"], 0), f"{row['first_sound']['p95']:.0f}") for row in sound),
            ),
        ]
    tokens = [row for row in rows if "token" in row]
    if tokens:
        parts += [
            "## Tokens of the LM",
            f"Of {size}: milliseconds from a request to its first token, and between two tokens, of one stream.",
            markdown_table(
                ("system", "ratio", "inputs", "first token (range)", "a token (range)"),
                (
                    (row["system"], row["ratio"], row["inputs"], _shown(row["first"], 2), _shown(row["token"], 3))
                    for row in tokens
                ),
            ),
        ]
    prompts = [row for row in rows if "restored" in row]
    if prompts:
        parts += [
            "## First token behind a voice's prompt",
            f"Of {size}, where text arrives while it is spoken, so that what a voice says comes first: milliseconds from a request "
            "to its first token, where the prompt is fed and kept, and where it was kept and is restored.",
            markdown_table(
                ("ratio", "prompt, speech tokens", "fed (range)", "restored (range)", "saved, ms"),
                (
                    (row["ratio"], row["prompt"], _shown(row["fed"], 2), _shown(row["restored"], 2),
                     f"{row['fed']['median'] - row['restored']['median']:.2f}")
                    for row in prompts
                ),
            ),
        ]  # fmt: skip
    return "\n\n".join([*parts, footnote(result)]) + "\n"


def _shown(spread: dict[str, float], digits: int) -> str:
    return f"{spread['median']:.{digits}f} ({spread['least']:.{digits}f} to {spread['most']:.{digits}f})"


def draw(result: dict[str, Any], path: Path) -> None:
    """Seconds of audio a second on the left, time between tokens on the right."""
    texts = [row for row in result["rows"] if "seconds" in row]
    tokens = [row for row in result["rows"] if "token" in row]
    with canvas(path, (9, 3.2)) as figure:
        speeds = {row["voice"]: row["audio_seconds"] / row["seconds"]["median"] for row in texts}
        steps = {f"{row['system']}, {row['ratio']}, {row['inputs']}": row["token"]["median"] for row in tokens}
        for at, (values, label) in enumerate(
            ((speeds, "seconds of audio a second"), (steps, "ms a token, one stream"))
        ):
            axes = figure.add_subplot(1, 2, at + 1)
            axes.barh(list(values), list(values.values()), color="#4477aa")
            axes.invert_yaxis()
            axes.tick_params(labelsize=7)
            axes.set_xlabel(label, fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            if at and values:
                axes.set_xscale("log")
