"""How well the embedded voice is understood, rated and recognised by runtime and flow, on a CPU.

    python benchmarks/runtime_quality.py --development SET... --held-out SET... --whisper DIR --run DIR [--device cuda]
        [--workers 12] [--minutes 8] [--seeds 2] [--out docs/results/runtime_quality.json]

Every line is said with equal seeds in each way, in processes of the CPU; the judges run on --device. What is
finished is kept in --run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from paired_scores import (
    about_judges,
    about_sets,
    compare_sets,
    open_paired,
    paired_options,
    paired_sections,
    read_sets,
    reference_sound,
)
from record import benchmark
from worker_pool import made

from mamtra import TTS, load
from mamtra.evaluate.sets import Line
from mamtra.runtime.results import page

WAYS: Mapping[str, Mapping[str, Any]] = {
    "torch": {"runtime": "torch", "device": "cpu"},
    "onnx": {"model": "mini", "runtime": "onnx", "int8_lm": False},
    "onnx, int8 LM": {"model": "mini", "runtime": "onnx"},
    "onnx, int8 LM, mini-fast": {"runtime": "onnx"},
}
"""Options of `mamtra.load` by the names in the table."""


def options(parser: argparse.ArgumentParser) -> None:
    paired_options(parser)
    parser.add_argument("--seeds", type=int, default=1, help="with which every line is said, from 0 on")


class Speaker:
    """Says a line in every way; a way is opened when it first speaks."""

    def __init__(self) -> None:
        self._open = cache(lambda way: load(**WAYS[way]))

    def __call__(self, wanted: tuple[Line, int]) -> dict[str, np.ndarray]:
        line, seed = wanted
        return {way: self._open(way).say(line.text, seed=seed).samples for way in WAYS}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record."""
    if not (args.whisper and args.run):
        raise SystemExit("give --whisper, --run and sets")
    torch.set_num_threads(args.threads)
    tts: TTS = load(**WAYS["torch"])
    prompt = reference_sound(args.run, tts, tts.voice())
    sets, about = read_sets(args, prompt)
    scores = open_paired(args, list(WAYS))
    lines = [line for some in sets.values() for line in some]
    missing = [(line, seed) for seed in range(args.seeds) for line in lines if not scores.has(line, seed)]
    for (line, seed), sounds in made(Speaker, (), missing, args.workers, args.minutes):
        scores.add(line, sounds, tts.sample_rate, seed=seed)
    scores.judge()
    yield {"model": tts.model.name, "sets": about, "judges": scores.about, "results": compare_sets(scores.files, sets)}


def render(result: dict[str, Any]) -> str:
    """The page."""
    about = (
        f"Every line is said with equal seeds in each way; the others are compared with {next(iter(WAYS))}. `changed`: lines "
        f"whose samples are not the same to the bit. Sets: {about_sets(result['sets'])}; {about_judges(result['judges'])}"
    )
    parts = ["# Quality by runtime and flow", about, paired_sections(result["results"])]
    return page(result, *parts)


if __name__ == "__main__":
    benchmark("runtime_quality", __doc__, measure, render, options, None)
