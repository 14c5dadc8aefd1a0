"""How well the embedded voice is understood with fewer bits, by the engine on a GPU or a CPU.

    python benchmarks/weight_words.py --development SET... --held-out SET... --whisper DIR --run DIR
        [--device cuda --speaker-device cuda] [--minutes 8] [--rows 64] [--out docs/results/weight_words.json]

Lines are spoken once with each option of the engine, with the seed of their place, and judged as `mamtra evaluate` does. What is
finished is kept in --run, so that a long measurement can be made in parts.
"""

from __future__ import annotations

import argparse
import copy
import random
import time
from collections.abc import Iterator, Mapping, Sequence
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
from record import benchmark, device_name

from mamtra.runtime.results import page
from mamtra.synthesis.batch import speak_jobs
from mamtra.tts import TTS

BASELINE = "float32"
WAYS: Mapping[str, Mapping[str, Any]] = {
    BASELINE: {},
    "int8 weights": {"weights": "int8"},
    "fp8 weights": {"weights": "fp8"},
    "bfloat16 states": {"ssm_dtype": torch.bfloat16},
}
"""Options of the engine by the names in the tables."""


def options(parser: argparse.ArgumentParser) -> None:
    paired_options(parser)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--rows", type=int, default=25, help="texts side by side")


@torch.inference_mode()
def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record, as often as texts are finished."""
    if not (args.whisper and args.run):
        raise SystemExit("give --whisper, --run and sets")
    torch.set_num_threads(args.threads)
    until, tts = time.monotonic() + 60 * args.minutes, TTS.load(args.model, device=args.speaker_device)
    prompt = reference_sound(args.run, tts, tts.voice())
    sets, about = read_sets(args, prompt)
    scores = open_paired(args, list(WAYS))
    every = list(enumerate(line for lines in sets.values() for line in lines))
    missing = [(seed, line) for seed, line in every if not scores.has(line)]
    random.Random(0).shuffle(missing)  # what is done after any time is a fair part of the sets
    known = {"model": tts.model.name, "device": device_name(tts.model.device), "sets": about}
    for start in range(0, len(missing), args.rows):
        if time.monotonic() > until:
            break
        part = missing[start : start + args.rows]
        seeds, texts = [seed for seed, _ in part], [line.text for _, line in part]
        spoken = zip(*(say_together(tts, way, texts, seeds) for way in WAYS), strict=True)
        for (_, line), sounds in zip(part, spoken, strict=True):
            scores.add(line, dict(zip(WAYS, sounds, strict=True)), tts.sample_rate)
        scores.judge()
        yield {**known, "judges": scores.about, "results": compare_sets(scores.files, sets)}
    yield {**known, "judges": scores.about, "results": compare_sets(scores.files, sets)}


def say_together(tts: TTS, way: str, texts: Sequence[str], seeds: Sequence[int]) -> Iterator[np.ndarray]:
    """Samples of each text, all decoded side by side in one way; each segment is tried once."""
    jobs = [(tts.voice(), text, seed) for text, seed in zip(texts, seeds, strict=True)]
    return speak_jobs(tts.model, jobs, lm=copy.deepcopy(tts.model.lm), rows=len(jobs), **WAYS[way])


def render(result: dict[str, Any]) -> str:
    """The page."""
    about = (
        f"Lines each said once by {result['model']} with each option of the engine on the {result['device']}, a segment tried "
        f"once, with the same random numbers; the others are compared with {BASELINE}.\n\n"
        f"Sets: {about_sets(result['sets'])}; {about_judges(result['judges'])}"
    )
    return page(result, "# Words with fewer bits", about, paired_sections(result["results"]))


if __name__ == "__main__":
    benchmark("weight_words", __doc__, measure, render, options, None)
