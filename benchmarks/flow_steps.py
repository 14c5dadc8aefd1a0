"""What the number of steps of the flow costs the embedded voice: words understood, naturalness, speaker, and time on a CPU.

    python benchmarks/flow_steps.py --run DIR [--development SET...] [--held-out SET...] [--whisper DIR [--fast]]
        [--fine] [--limit N] [--variants 10 6 4 3 2 4-uniform few=MODEL:2] [--out docs/results/flow_steps.json]

The language model speaks every line once; a variant makes its own sound of these tokens, offline. N is so many Euler steps with
guidance, N-GRID the same at other positions, NAME=MODEL:N a few-step flow of another model directory. The first variant is what the
others are compared with. Without --whisper only time is measured, and with --fine the mel; on a GPU no time. The run folder keeps
everything, so that a run continues where it stopped, and takes on more variants later. The page has two parts, times and what was
judged: what a run does not measure stays as --out has it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired_scores import (
    TokenCache,
    about_judges,
    about_sets,
    append_row,
    compare_sets,
    open_paired,
    paired_options,
    paired_sections,
    read_rows,
    read_sets,
    reference_sound,
    trimmed,
)
from record import benchmark, made_with, say_progress
from torch import Tensor
from worker_pool import made as work_on

import mamtra
from mamtra.acoustic import flow_matching
from mamtra.acoustic.causal_flow import CausalFlow
from mamtra.checkpoints.native import load_part
from mamtra.evaluate.sets import Line
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
PARTS = ("judged", "timed")
"""Of the result, each with its own circumstances."""
KEPT = 6
"""Lines whose sounds are kept in the run folder, for `mamtra report`."""


def options(parser: argparse.ArgumentParser) -> None:
    paired_options(parser)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--variants", nargs="+", default=["10", "6", "4", "3", "2", "4-uniform", "4-square", "4-sine"])
    parser.add_argument("--fine", action="store_true", help=f"compare mels with those of {FINE} Euler steps too")


class Variant:
    """A way from tokens to mel.

    Args:
        word: see the module.
        flow: of the model, for Euler steps.

    Attributes:
        name: of the variant.
    """

    def __init__(self, word: str, flow: CausalFlow, device: torch.device) -> None:
        before, few, place = word.partition("=")
        directory, _, steps = place.rpartition(":") if few else ("", "", word.partition("-")[0])
        self.name = f"{before}-{steps}" if few else word
        self._flow, self._steps = load_part(directory, "flow").to(device) if few else flow, int(steps)
        self._device = device
        self._grid = GRIDS["" if few else word.partition("-")[2]]

    def __call__(self, tokens: list[int], voice: Voice) -> tuple[Tensor, float]:
        """Mel (1, mel, frames), and the seconds that it took."""
        prompt = (voice.prompt_speech[None], voice.prompt_mel[None], voice.embedding[None])
        given = (torch.tensor([tokens], device=self._device), *(part.to(self._device) for part in prompt))
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
    """The record after every tenth line where this process does the work, and at the end."""
    torch.set_num_threads(args.threads)
    tts = mamtra.load(args.model, runtime="torch", device=args.speaker_device)
    names = [Variant(word, tts.model.flow, tts.model.device).name for word in args.variants]
    prompt = reference_sound(args.run, tts, tts.voice())
    sets, about = read_sets(args, prompt)
    lines = [line for some in sets.values() for line in some]
    scores = None
    if args.whisper:
        scores = open_paired(args, names)
    times, kept = args.run / "times.jsonl", {line.id for line in lines[:KEPT]}

    parts = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    parts = {name: parts[name] for name in PARTS if name in parts}
    made = {**made_with(args.threads), "model": args.model, "sets": about, "variants": names}

    def result() -> dict[str, Any]:
        known = {(row["id"], row["variant"]): row for row in read_rows(times)}
        ids = [line.id for line in lines if all((line.id, name) in known for name in names)]
        if args.speaker_device == "cpu":
            parts["timed"] = {**made, "lines": len(ids), "times": summarise(known, ids, names)}
        if scores is not None:
            parts["judged"] = {**made, "judges": scores.about, "results": compare_sets(scores.files, sets)}
        return parts

    known = {(row["id"], row["variant"]) for row in read_rows(times)}
    wanted = []
    for number, line in enumerate(lines):
        missing = [name for name in names if (line.id, name) not in known
                   or (scores is not None and line.id not in scores.files[name].rows)]  # fmt: skip
        if missing:
            turn = number % len(missing)  # none is always the first
            wanted.append((line, missing[turn:] + missing[:turn]))
    random.Random(0).shuffle(wanted)  # what is done after any time is a fair part of the sets
    given = (
        args.model,
        args.speaker_device,
        tuple(args.variants),
        args.run / "tokens.jsonl",
        times,
        args.fine,
        scores is not None,
    )
    with say_progress("lines") as progress:
        todo = work_on(Maker, given, wanted, args.workers, args.minutes)
        for number, ((line, _), sounds) in enumerate(progress.track(todo, total=len(wanted)), 1):
            if scores is not None:
                scores.add(line, sounds, tts.sample_rate, keep=line.id in kept)
            if number % 10 == 0 and not args.workers:
                yield result()
    if scores is not None:
        scores.judge()
    yield result()


class Maker:
    """Sounds of variants of a line; tokens and times are written.

    Args:
        model: directory or name.
        device: of the model.
        words: the variants.
        tokens: file of them.
        times: file of them.
        fine: compare mels with those of many steps.
        heard: make samples, else only mels.
    """

    def __init__(
        self, model: str, device: str, words: Sequence[str], tokens: Path, times: Path, fine: bool, heard: bool
    ) -> None:
        tts = mamtra.load(model, runtime="torch", device=device)
        self._model, self._voice, self._times = tts.model, tts.voice(), times
        self._variants = {
            variant.name: variant for variant in (Variant(word, tts.model.flow, tts.model.device) for word in words)
        }
        self._tokens_of = TokenCache(tokens, tts, self._voice)
        self._timed = {(row["id"], row["variant"]) for row in read_rows(times)}
        self._fine, self._heard = Variant(str(FINE), tts.model.flow, tts.model.device) if fine else None, heard

    @torch.inference_mode()
    def __call__(self, wanted: tuple[Line, Sequence[str]]) -> dict[str, np.ndarray]:
        line, names = wanted
        tokens, sounds = self._tokens_of(line), {}
        fine = self._fine(tokens, self._voice)[0] if self._fine else None
        for name in names:
            mel, seconds = self._variants[name](tokens, self._voice)
            if (line.id, name) not in self._timed:
                row = {"id": line.id, "variant": name, "seconds": seconds, "sound": 0.04 * len(tokens)}
                if fine is not None:
                    row["mel_error"] = float((mel - fine).square().mean().sqrt())
                append_row(self._times, row)
            if self._heard:
                vocoder = self._model.vocoder
                noise = vocoder.noise(torch.Generator().manual_seed(0))(mel.shape[-1] * vocoder.config.hop)
                samples = vocoder.inference(mel, noise=noise.to(mel.device)).reshape(-1).cpu().numpy()
                sounds[name] = trimmed(samples, self._model.sample_rate)
        return sounds


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
    one = next(result[name] for name in PARTS if name in result)
    first = one["variants"][0]
    parts = [
        "# Steps of the flow",
        f"In the voice of {one['model']}: the language model speaks each line once, and every variant makes its own sound of these "
        f"tokens, offline. The others are compared with {first}. A number is that of Euler steps with guidance, two evaluations "
        "each, at the flow's own positions 1 - cos(pi u / 2); uniform: u, square: u^2, sine: sin(pi u / 2). few-N takes N steps "
        "of one evaluation, trained by `mamtra distill-flow`.",
    ]
    if judged := result.get("judged"):
        parts += [
            f"## Judged\n\n{about_sets(judged['sets'])}. {about_judges(judged['judges'])}",
            paired_sections(judged["results"], level=3),
            footnote(judged),
        ]
    if timed := result.get("timed"):
        times = [
            [name, f"{row['share']:.4f}", f"{row['faster']:.1f}",
             "-" if row["mel_error"] is None else f"{row['mel_error']:.3f}"]
            for name, row in timed["times"].items()
        ]  # fmt: skip
        parts += [
            "## Time of the flow",
            f"{timed['lines']} lines ({about_sets(timed['sets'])}). Medians over lines, variants in turn. Seconds are by the "
            "clock, of a machine that may have done other work, so that only their ratios count. Mel error: root mean square "
            f"against {FINE} Euler steps.",
            markdown_table(["", "seconds of a second of sound", f"times faster than {first}", "mel error"], times),
            footnote(timed),
        ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    benchmark("flow_steps", __doc__, measure, render, options, None)
