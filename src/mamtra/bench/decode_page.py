"""The page of `mamtra bench decode`, made from its JSON alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mamtra.runtime.plotting import canvas
from mamtra.runtime.results import footnote, markdown_table

GOALS = {
    "byte limit": (("1:0", 1, 2048, 0.5), ("1:1", 1, 2048, 0.5), ("1:1", 1, 8192, 0.5), ("1:1", 32, 2048, 0.6),
                   ("1:1", 32, 8192, 0.6), ("1:1", 128, 2048, 0.6)),
    "against teacher": (("1:1", 0.72), ("1:5", 0.48), ("1:11", 0.42)),
}  # fmt: skip
ENGINE = "engine"
OTHERS = {"attention": "attention", "Mamba step": "Mamba step", "sampler": "sampler"}
"""Kinds of kernel that are no products, with their names in the table of gains."""
NOTES = """\
Attention and the Mamba step come close to the limit where they have much to read. What is left is in the products: each is
a kernel of a few microseconds, of which the start, the wait for the inputs and the last sums are a good part, and for many
streams the inputs are read again by every program from the L2 cache. On GPUs from compute capability 9.0 on kernels start
before the previous one has ended and fetch their weights; all of it is in one CUDA graph.

Tried and dropped: starting kernels still earlier (nothing for one stream, slower for 32), the norm inside the products (their
inputs then pass through registers; now the kernel that makes a vector leaves it times the norm's weight with its sum of
squares), merging the parts of attention head by head, and having attention and the Mamba step, which leave the memory idle,
fetch the weights of later products into the L2 cache (bulk prefetches, nine plans of who fetches what, on an H200: all slower, most
for one stream; what is fetched early competes with what is needed now). Computing products with the weights on the left, where
Hopper's tensor cores take 64 rows at a time, changed 32 streams by no more than 1%. Four steps in one graph are 2% faster than four
graphs: that is what the start of a graph costs.

One stream is a chain of 123 kernels at about 4 microseconds each, and an H200, with 1.4 times the bandwidth, is only a tenth
faster. So the next step is one persistent kernel for a layer or the whole step, whose programs load the next weights into shared
memory while they wait for one another: it could save up to the difference between the times above and their limits. For many
streams a product whose inputs are sent to several multiprocessors at once (thread block clusters) could save the rereading;
weights in eight bits gain little there, since they are widened by every program that reads them."""


def render(result: dict[str, Any]) -> str:
    """Markdown."""
    steps = [row for row in result["steps"] if "ms" in row]
    ours = {(row["ratio"], row["rows"], row["length"]): row for row in steps if row["system"] == ENGINE}
    rate = result["bandwidth"]

    def fraction(row: dict[str, Any]) -> float:
        return row["bytes"] / rate * 1e3 / row["ms"]

    size = "A tiny model" if result["tiny"] else "The LM of CosyVoice 2 (24 layers of 896)"
    parts = [
        "# Decode steps",
        "![Time of a step and its byte limit](decode.svg)",
        f"{size} with random weights on {result['device']}. Ratios are attention to Mamba layers; 1:0 is the all-attention "
        "teacher in the same engine. A step of the engine contains the sampler. The byte limit is the time to read the weights and "
        "the cached keys and values once and to read and write the Mamba states once, at "
        f"{rate / 1e12:.2f} TB/s, which was measured in the same run.",
        "## One step of the engine",
        markdown_table(
            ("ratio", "streams", "context", "ms", "least to most", "byte limit, ms", "fraction of the limit", "tokens/s"),
            (
                (*key, f"{row['ms']:.3f}", f"{row['least_ms']:.3f} to {row['most_ms']:.3f}",
                 f"{row['bytes'] / rate * 1e3:.3f}", f"{fraction(row):.0%}", f"{1e3 * row['rows'] / row['ms']:,.0f}")
                for key, row in ours.items()
            ),
        ),
    ]  # fmt: skip
    less = [row for row in steps if "logit_error" in row]
    if less:
        parts += [
            "## With less to read",
            "Steps of the 1:1 hybrid. The error of the logits is that of random weights, against all "
            "bits, relative to their norm, over 4 x 64 positions.",
            markdown_table(
                ("variant", "streams", "context", "ms", "fraction of its limit", "against all bits", "logit error"),
                (_variant(row, ours, fraction(row)) for row in less),
            ),
        ]
    peers = [row for row in result["steps"] if row["system"] != ENGINE and "logit_error" not in row]
    if peers:
        parts += [
            "## Beside other ways to make the step",
            "`captured plain step` is the plain model's step as a CUDA graph, without a sampler. The rows of transformers include "
            "the host's time for launches, as its users have it.",
            markdown_table(
                ("system", "ratio", "streams", "context", "ms", "engine, ms", "times as fast"), _against(peers, ours)
            ),
        ]
    teacher, hybrids = ours.get(("1:0", 32, 8192)), []
    for ratio, goal in GOALS["against teacher"]:
        row = ours.get((ratio, 32, 8192))
        if row and teacher:
            allowed = row["bytes"] / teacher["bytes"]
            hybrids.append((ratio, f"{row['ms'] / teacher['ms']:.2f}", f"{allowed:.2f}", f"{goal:.2f}"))
    if hybrids:
        parts += ["## Hybrids against the teacher, 32 streams of 8192 positions",
                  markdown_table(("ratio", "time", "bytes allow", "goal"), hybrids)]  # fmt: skip
    reached = [
        (ratio, rows, length, f"{fraction(ours[ratio, rows, length]):.0%}", f"{goal:.0%}")
        for ratio, rows, length, goal in GOALS["byte limit"]
        if (ratio, rows, length) in ours
    ]
    if reached:
        parts += ["## Fractions of the byte limit against the goals",
                  markdown_table(("ratio", "streams", "context", "reached", "goal"), reached)]  # fmt: skip
    if result["profiles"]:
        parts += ["## What holds the step", *_profile(result["profiles"], rate),
                  "## What the next step could gain", *_gain(result["profiles"], ours, rate)]  # fmt: skip
    if result["skipped"]:
        parts.append(f"The time was up before {result['skipped']} rows.")
    parts += ["## How it was measured", "Medians of repetitions; the first are not counted.", footnote(result)]
    return "\n\n".join(parts) + "\n"


def _variant(row: dict[str, Any], ours: dict[tuple, dict[str, Any]], fraction: float) -> Sequence[Any]:
    mine, error = ours.get((row["ratio"], row["rows"], row["length"])), row["logit_error"]
    return (
        row["system"], row["rows"], row["length"], f"{row['ms']:.3f}", f"{fraction:.0%}",
        f"{row['ms'] / mine['ms']:.2f}" if mine else "", "" if error is None else f"{error:.4f}",
    )  # fmt: skip


def _against(peers: Sequence[dict[str, Any]], ours: dict[tuple, dict[str, Any]]) -> Iterable[Sequence[Any]]:
    for row in peers:
        about = row["system"], row["ratio"], row["rows"], row["length"]
        mine = ours.get(about[1:])
        if "failed" in row:
            yield (*about, row["failed"], "", "")
        elif mine:
            yield (*about, f"{row['ms']:.2f}", f"{mine['ms']:.3f}", f"{row['ms'] / mine['ms']:.1f}")


def _profile(profiles: Sequence[dict[str, Any]], rate: float) -> list[str]:
    rows = [
        (
            profile["rows"],
            profile["length"],
            name,
            entry["calls"],
            f"{entry['us']:.1f}",
            f"{entry['bytes'] / rate * 1e6:.1f}",
        )
        for profile in profiles
        for name, entry in profile["kernels"].items()
    ]
    return [
        "Microseconds of one step of the 1:1 hybrid by kind of kernel, each kind in a chain of its own over all layers. Head and "
        "sampler fit into the GPU's cache and may be faster than the limit.",
        markdown_table(("streams", "context", "kernel", "calls", "time", "byte limit"), rows),
        NOTES,
    ]


def _gain(profiles: Sequence[dict[str, Any]], ours: dict[tuple, dict[str, Any]], rate: float) -> list[str]:
    """What the step would be if products took no longer than their bytes, and what else is above the limit."""
    rows, hybrids = [], []
    for profile in profiles:
        shape = profile["rows"], profile["length"]
        above = dict.fromkeys(("products", *OTHERS.values()), 0.0)
        for name, entry in profile["kernels"].items():
            above[OTHERS.get(name, "products")] += max(0.0, entry["us"] / 1e3 - entry["bytes"] / rate * 1e3)
        mine = ours.get(("1:1", *shape))
        if mine is None:
            continue
        left = mine["ms"] - above["products"]
        limit = mine["bytes"] / rate * 1e3
        rows.append((
            *shape, f"{mine['ms'] - limit:.3f}", *(f"{part:.3f}" for part in above.values()), f"{left:.3f}", f"{limit / left:.0%}"
        ))  # fmt: skip
        teacher = ours.get(("1:0", *shape))
        if teacher is None or shape != (32, 8192):
            continue
        hybrids = [
            (ratio, f"{ours[key]['ms'] / teacher['ms']:.2f}",
             f"{(ours[key]['ms'] - above['products']) / (teacher['ms'] - above['products']):.2f}", f"{goal:.2f}")
            for ratio, goal in GOALS["against teacher"] if (key := (ratio, *shape)) in ours
        ]  # fmt: skip
    parts = [
        "Milliseconds of a step of the 1:1 hybrid above its byte limit, and how much of each kind of kernel is above its own, by "
        "the table before; the two last columns are a step whose products take no longer than their bytes.",
        markdown_table(
            ("streams", "context", "above the limit", *(f"of it {name}" for name in ("products", *OTHERS.values())),
             "ms without that of products", "fraction of the limit"),
            rows,
        ),
    ]  # fmt: skip
    if hybrids:
        parts += [
            "All ratios have the same feed-forward layers, so that what their products take too long brings a hybrid nearer to the "
            "teacher. Times against the teacher, 32 streams of 8192 positions, as they are and with such products in both:",
            markdown_table(("ratio", "time", "with products at their limit", "goal"), hybrids),
        ]
    return parts


def draw(result: dict[str, Any], path: Path) -> None:
    """A step of the engine for each shape and ratio, with its byte limit in front."""
    steps = [row for row in result["steps"] if row["system"] == ENGINE and "ms" in row]
    streams_of, ratios = (list(dict.fromkeys(row[key] for row in steps)) for key in ("rows", "ratio"))
    with canvas(path, (9, 3.2)) as figure:
        for at, streams in enumerate(streams_of):
            axes = figure.add_subplot(1, len(streams_of), at + 1)
            lengths = list(dict.fromkeys(row["length"] for row in steps if row["rows"] == streams))
            for row in (row for row in steps if row["rows"] == streams):
                place = lengths.index(row["length"]) * (len(ratios) + 1) + ratios.index(row["ratio"])
                axes.bar(place, row["ms"], 0.9, color="#4477aa")
                axes.bar(place, row["bytes"] / result["bandwidth"] * 1e3, 0.9, color="#ccbb44")
            places = [i * (len(ratios) + 1) + j for i in range(len(lengths)) for j in range(len(ratios))]
            axes.set_xticks(places, [ratio for _ in lengths for ratio in ratios], rotation=90)
            axes.tick_params(labelsize=7)
            axes.set_title(f"{streams} x {', '.join(f'{length:,}' for length in lengths)} positions", fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            if at == 0:
                axes.set_ylabel("ms a step; byte limit in front", fontsize=8)
