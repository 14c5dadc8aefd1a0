"""What recipes/mini/probe_tokens.py reads from the tokens of some tokenizers, and how each of them was trained, as a page.

python benchmarks/tokenizer_probe.py --probe probe.json --trained NAME=tokenizer.safetensors ... --about "what was tried"
    [--machine about.json] [--out docs/results/tokenizer_probe.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import benchmark
from safetensors import safe_open

from mamtra.runtime.results import footnote, markdown_table

FIGURES = {
    "phone_errors_percent": ("phone errors %", 1), "pitch_correlation": ("pitch, correlation", 3),
    "pitch_error_semitones": ("pitch error, semitones", 2), "speaker_named_percent": ("speaker named %", 1),
}  # fmt: skip
GROUPS = {
    "new_speakers": "Speakers that no training run here has seen",
    "seen_speakers": "Speakers of the training corpora",
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--probe", type=Path, required=True)
    parser.add_argument("--trained", nargs="*", default=[], metavar="NAME=FILE", help="trained for the comparison")
    parser.add_argument("--about", required=True, help="a sentence or more")
    parser.add_argument("--machine", type=Path, help="hardware and versions of the machine that measured")


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record."""
    trained = {}
    for word in args.trained:
        name, _, file = word.partition("=")
        with safe_open(file, "pt") as opened:
            about = opened.metadata()
        trained[name] = {
            "steps": int(about["steps"]),
            "minutes": float(about["minutes"]),
            "hours": float(about["hours"]),
        }
        trained[name] |= {"bits_per_token": json.loads(about["measured"])["bits_per_token"]}
    machine = json.loads(args.machine.read_text(encoding="utf-8")) if args.machine else {}
    probe = json.loads(args.probe.read_text(encoding="utf-8"))
    yield {"about": args.about, "tokenizers": probe, "trained": trained, **machine}


def render(result: dict[str, Any]) -> str:
    """The page."""
    parts = ["# What tokens hold", result["about"]]
    for group, title in GROUPS.items():
        found = {name: one[group] for name, one in result["tokenizers"].items()}
        names = [key for key in FIGURES if any(key in one for one in found.values())]
        rows = [
            [name, one["utterances"], *(f"{one[key]:.{FIGURES[key][1]}f}" if key in one else "" for key in names)]
            for name, one in found.items()
        ]
        parts += [f"## {title}", markdown_table(["tokenizer", "utterances", *(FIGURES[key][0] for key in names)], rows)]
    rows = [
        [name, one["steps"], f"{one['minutes']:.2f}", f"{one['hours']:.2f}", f"{one['bits_per_token']:.2f}"]
        for name, one in result["trained"].items()
    ]
    heads = ["tokenizer", "steps", "minutes", "hours of speech", "bits a token"]
    parts += ["## Training", markdown_table(heads, rows), footnote(result)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    benchmark("tokenizer_probe", __doc__, measure, render, options, None)
