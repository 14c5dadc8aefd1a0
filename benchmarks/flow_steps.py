"""What the number of steps of the flow costs the embedded voice: words understood, naturalness, speaker, and time on a CPU.

    python benchmarks/flow_steps.py --sets SET ... --run DIR [--whisper DIR [--fast]] [--fine] [--limit N]
        [--variants 10 6 4 3 2 4-uniform few=MODEL:2] [--out docs/results/flow_steps.json]

The language model speaks every line once; a variant makes its own sound of these tokens, offline. N is so many Euler steps with
guidance, N-GRID the same at other positions, NAME=MODEL:N a few-step flow of another model directory. The first variant is what the
others are compared with. Without --whisper only time is measured, and with --fine the mel. The run folder keeps everything, so that
a run continues where it stopped, and takes on more variants later.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired_scores import (
    PairedScores,
    TokenCache,
    append_row,
    compare,
    lines_with_prompt,
    paired_table,
    read_rows,
    reference_sound,
    trimmed,
)
from record import benchmark, say_progress
from torch import Tensor

import mamtra
from mamtra.acoustic import flow_matching
from mamtra.acoustic.causal_flow import CausalFlow
from mamtra.checkpoints.native import load_part
from mamtra.runtime.results import footnote, markdown_table
from mamtra.voices.voice import Voice

GRIDS: dict[str, Callable[[Tensor], Tensor]] = {
    "": flow_matching.cosine_schedule,
    "uniform": lambda u: u,
    "square": torch.square,
    "sine": lambda u: torch.sin(u * torch.pi / 2),
}
"""Flow times of steps by their progress u in [0, 1]; the first is the flow's own, 1 - cos(pi u / 2)."""
FINE = 100
"""Euler steps of the mel that others are compared with."""
KEPT = 6
"""Lines whose sounds are kept in the run folder, for `mamtra report`."""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--limit", type=int, help="lines of each set")
    parser.add_argument("--variants", nargs="+", default=["10", "6", "4", "3", "2", "4-uniform", "4-square", "4-sine"])
    parser.add_argument("--whisper", help="judge the sound too: a CTranslate2 Whisper")
    parser.add_argument("--fast", action="store_true", help="Whisper in int8 with a greedy search")
    parser.add_argument("--fine", action="store_true", help=f"compare mels with those of {FINE} Euler steps too")
    parser.add_argument("--run", type=Path, required=True, help="folder of tokens, scores and times")
    parser.add_argument("--threads", type=int, default=2)


class Variant:
    """A way from tokens to mel.

    Args:
        word: see the module.
        flow: of the model, for Euler steps.

    Attributes:
        name: of the variant.
    """

    def __init__(self, word: str, flow: CausalFlow) -> None:
        before, few, place = word.partition("=")
        directory, _, steps = place.rpartition(":") if few else ("", "", word.partition("-")[0])
        self.name = f"{before}-{steps}" if few else word
        self._flow, self._steps = load_part(directory, "flow") if few else flow, int(steps)
        self._grid = GRIDS["" if few else word.partition("-")[2]]

    def __call__(self, tokens: list[int], voice: Voice) -> tuple[Tensor, float]:
        """Mel (1, mel, frames), and the seconds that it took."""
        given = (torch.tensor([tokens]), voice.prompt_speech[None], voice.prompt_mel[None], voice.embedding[None])
        began = time.perf_counter()
        with positions(self._grid):
            mel = self._flow.inference(*given, steps=self._steps)
        return mel, time.perf_counter() - began


@contextmanager
def positions(grid: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let flows place their steps by another grid."""
    kept, flow_matching.cosine_schedule = flow_matching.cosine_schedule, grid
    try:
        yield
    finally:
        flow_matching.cosine_schedule = kept


@torch.inference_mode()
def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record after every tenth line, and at the end."""
    torch.set_num_threads(args.threads)
    tts = mamtra.load(args.model, runtime="torch")
    model, voice = tts.model, tts.voice()
    variants = [Variant(word, model.flow) for word in args.variants]
    names, tokens_of = [variant.name for variant in variants], TokenCache(args.run / "tokens.jsonl", tts, voice)
    prompt = reference_sound(args.run, tts, voice)
    sets = [lines_with_prompt(source, prompt, args.limit) for source in args.sets]
    lines = [line for found, _ in sets for line in found]
    scores = PairedScores(args.run, names, args.whisper, args.threads, fast=args.fast) if args.whisper else None
    times = args.run / "times.jsonl"
    known = {(row["id"], row["variant"]): row for row in read_rows(times)}
    with say_progress("lines") as progress:
        for number, line in enumerate(progress.track(lines)):
            missing = [one for one in variants if (line.id, one.name) not in known
                       or (scores is not None and line.id not in scores.files[one.name].rows)]  # fmt: skip
            tokens, sounds = tokens_of(line), {}
            fine = Variant(str(FINE), model.flow)(tokens, voice)[0] if args.fine and missing else None
            for at in range(len(missing)):
                variant = missing[(at + number) % len(missing)]  # none is always the first
                mel, seconds = variant(tokens, voice)
                if (line.id, variant.name) not in known:
                    row = {"id": line.id, "variant": variant.name, "seconds": seconds, "sound": 0.04 * len(tokens)}
                    if fine is not None:
                        row["mel_error"] = float((mel - fine).square().mean().sqrt())
                    append_row(times, row)
                    known[line.id, variant.name] = row
                if scores is not None:
                    noise = model.vocoder.noise(torch.Generator().manual_seed(0))
                    noise = noise(mel.shape[-1] * model.vocoder.config.hop)
                    samples = model.vocoder.inference(mel, noise=noise).reshape(-1).numpy()
                    sounds[variant.name] = trimmed(samples, model.sample_rate)
            if sounds:
                scores.add(line, sounds, model.sample_rate, keep=number < KEPT)
            if number % 10 == 9 or line is lines[-1]:
                ids = [one.id for one in lines[: number + 1]]
                yield {
                    "model": args.model,
                    "sets": [about for _, about in sets],
                    "judges": None if scores is None else scores.about,
                    "lines": len(ids),
                    "times": summarise(known, ids, names),
                    "scores": None if scores is None else compare(scores.files, ids),
                }


def summarise(known: dict[tuple[str, str], dict[str, Any]], ids: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Times of all variants, and errors of the mel where they are known."""
    found = {}
    for name in names:
        rows = [known[key, name] for key in ids]
        errors = [row["mel_error"] for row in rows if "mel_error" in row]
        found[name] = {
            "share": statistics.median(row["seconds"] / row["sound"] for row in rows),
            "faster": statistics.median(known[row["id"], names[0]]["seconds"] / row["seconds"] for row in rows),
            "mel_error": float(np.mean(errors)) if errors else None,
        }
    return found


def render(result: dict[str, Any]) -> str:
    """The page."""
    first = next(iter(result["times"]))
    times = [
        [
            name,
            f"{one['share']:.4f}",
            f"{one['faster']:.1f}",
            "-" if one["mel_error"] is None else f"{one['mel_error']:.3f}",
        ]
        for name, one in result["times"].items()
    ]
    sets = ", ".join(f"{about['lines']} of {about['set']}" for about in result["sets"])
    parts = [
        "# Steps of the flow",
        f"{result['lines']} lines ({sets}) in the voice of {result['model']}: the language model speaks each once, and every "
        f"variant makes its own sound of these tokens, offline. The others are compared with {first}. A number is that of Euler "
        "steps with guidance, two evaluations each, at the flow's own positions 1 - cos(pi u / 2); uniform: u, square: u^2, sine: "
        "sin(pi u / 2). few-N takes N steps of one evaluation, trained by `mamtra distill-flow`.",
        "## Time of the flow",
        "Medians over lines, variants in turn. Seconds are by the clock, of a machine that may have done other work, so that only "
        f"their ratios count. Mel error: root mean square against {FINE} Euler steps.",
        markdown_table(["", "seconds of a second of sound", f"times faster than {first}", "mel error"], times),
    ]
    if result["scores"]:
        parts += [
            "## Judged",
            "In brackets: 95% intervals of the paired difference. Similarity is to a sentence that the model says in the voice.",
            paired_table(result["scores"]),
        ]
    return "\n\n".join([*parts, footnote(result)]) + "\n"


if __name__ == "__main__":
    benchmark("flow_steps", __doc__, measure, render, options, None)
