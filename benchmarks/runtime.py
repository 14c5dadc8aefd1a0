"""ONNX Runtime against torch on one CPU: seconds of computing by stage, start-up, memory, and how well both are understood.

    python benchmarks/runtime.py [--runs 3] [--voice NAME] [--set LIST.tsv --transcripts onnx=A.jsonl torch=B.jsonl]
        [--recogniser WHAT] [--out docs/results/runtime.json]

Stages are CPU seconds of one thread per second of sound, the runtimes in turn: other programs disturb them less than they do the
clock. Fresh processes are `python -m mamtra say`. Transcripts are lines of {"id", "text"} by a speech recogniser, of what both
said with the same voice and seed; LIST.tsv has the columns id and spoken.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from record import benchmark

from mamtra.runtime.results import footnote, markdown_table

TEXT = "The quick brown fox jumps over the lazy dog, and then it walks slowly back home."
COLD = "Hello! This voice runs on your own machine."
STAGES = ("speech tokens", "mel", "samples")
RUNTIMES = ("torch", "onnx")
PEAK = (
    "import resource, sys\nfrom mamtra.cli import main\nstatus = main(sys.argv[1:])\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10))\n"
    "sys.exit(status)"
)


def stages(voice: str, runs: int) -> dict[str, dict[str, float]]:
    """CPU seconds per second of sound of each stage, medians after one run for warming up."""
    import torch

    from mamtra import load
    from mamtra.acoustic.flow_matching import fixed_noise
    from mamtra.light.lm import LightGeneration
    from mamtra.light.model import LightModel
    from mamtra.light.random import Generator
    from mamtra.synthesis.sentence import generate_tokens

    torch.set_num_threads(1)
    tts = load(runtime="torch", device="cpu")
    model, light = tts.model, LightModel(tts.model.directory, threads=1)
    theirs = tts.voice(voice)
    ours, ids = theirs.to("numpy"), list(model.text.segments(TEXT)[0].ids)
    fixed_noise(80)
    made: dict[str, dict[str, list[float]]] = {name: {stage: [] for stage in STAGES} for name in RUNTIMES}

    def torch_parts() -> Iterator[int]:
        yield len(tokens := generate_tokens(model, theirs, ids, 0)[0])
        prompt = (theirs.prompt_speech[None], theirs.prompt_mel[None], theirs.embedding[None])
        yield len(mel := model.flow.inference(torch.tensor([tokens]), *prompt, steps=model.generation.flow_steps))
        noise = model.vocoder.noise(torch.Generator().manual_seed(0))(mel.shape[-1] * model.vocoder.config.hop)
        yield len(model.vocoder.inference(mel, noise=noise))

    def light_parts() -> Iterator[int]:
        run = LightGeneration(light.lm, ids, *ours.lm_prompt, Generator(0), light.generation)
        yield len(tokens := list(run))
        yield len(mel := light.flow.whole(np.array(tokens), ours.prompt_speech, ours.prompt_mel, ours.embedding))
        yield len(light.vocoder.whole(mel, 0))

    for turn in range(runs + 1):
        for name, parts in (("torch", torch_parts), ("onnx", light_parts)):
            begun, seconds = time.process_time(), 0.0
            for stage, size in zip(STAGES, parts(), strict=True):
                spent = time.process_time() - begun
                seconds = size / 25 if stage == STAGES[0] else seconds
                if turn:
                    made[name][stage].append(spent / seconds)
                begun = time.process_time()
    return {name: {stage: statistics.median(values) for stage, values in by.items()} for name, by in made.items()}


def fresh(voice: str, runs: int) -> dict[str, dict[str, float]]:
    """CPU and wall seconds from nothing to a sound file, and peak memory in MiB; medians, the runtimes in turn."""
    made: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": [], "mebibytes": []} for name in RUNTIMES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            for name, found in made.items():
                command = ["say", COLD, "--runtime", name, "--voice", voice, "-q", "-o", str(Path(folder) / "x.wav")]
                begun, wall = _children(), time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True
                )
                found["wall"].append(time.perf_counter() - wall)
                found["cpu"].append(_children() - begun)
                found["mebibytes"].append(float(done.stdout))
                (Path(folder) / "x.wav").unlink()
    return {name: {what: statistics.median(values) for what, values in by.items()} for name, by in made.items()}


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def understood(references: Path, transcripts: dict[str, Path]) -> dict[str, Any]:
    """Word error rates in percent over the sentences that both were transcribed of, and their paired difference."""
    from mamtra.evaluate.error_rates import count_errors, english_normaliser
    from mamtra.evaluate.statistics import difference, interval, ratio, resamples

    with references.open(encoding="utf-8") as file:
        spoken = {row["id"]: row["spoken"] for row in csv.DictReader(file, delimiter="\t")}
    heard = {
        name: {entry["id"]: entry["text"] for entry in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
        for name, path in transcripts.items()
    }
    ids = sorted(set.intersection(*(set(texts) for texts in heard.values())))
    rule, about = english_normaliser()
    counts = {name: [count_errors(spoken[i], texts[i], rule) for i in ids] for name, texts in heard.items()}
    errors = {name: np.array([count[0] for count in found], float) for name, found in counts.items()}
    words = np.array([count[1] for count in counts["torch"]], float)
    picked = resamples(len(ids))
    rates = {
        name: [100 * float(ratio(found, words)), *(100 * end for end in interval(ratio(found, words, picked)))]
        for name, found in errors.items()
    }
    middle, ends = difference(errors["torch"], words, errors["onnx"], words)
    return {
        "sentences": len(ids),
        "normaliser": about,
        "wer": rates,
        "difference": [100 * value for value in (middle, *ends)],
    }


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that was measured so far."""
    # fresh processes first: Linux counts what a parent holds when it forks as memory of the child
    found: dict[str, Any] = {"voice": args.voice, "fresh": fresh(args.voice, args.runs)}
    found["stages"] = stages(args.voice, args.runs)
    yield found
    if args.transcripts:
        paths = dict(entry.split("=", 1) for entry in args.transcripts)
        heard = understood(args.set, {name: Path(path) for name, path in paths.items()})
        found["understood"] = heard | {"recogniser": args.recogniser}
        yield found


def bars(by: dict[str, dict[str, float]]) -> str:
    """A picture of where the time goes, in characters: one for each hundredth of a second."""
    marks = dict(zip(STAGES, "▓▒░", strict=True))
    lines = [
        f"{name:6}" + "".join(marks[stage] * round(100 * part[stage]) for stage in STAGES) for name, part in by.items()
    ]
    legend = "  ".join(f"{mark} {stage}" for stage, mark in marks.items())
    return "\n".join(["```", *lines, f"      {legend}", "```"])


def render(result: dict[str, Any]) -> str:
    """The page of a result."""
    by = result["stages"]
    rows = [
        [name, *(f"{part[stage]:.3f}" for stage in STAGES), f"{sum(part.values()):.3f}"] for name, part in by.items()
    ]
    ratio = [by["onnx"][stage] / by["torch"][stage] for stage in STAGES]
    whole = sum(by["onnx"].values()) / sum(by["torch"].values())
    rows.append(["onnx / torch", *(f"{value:.2f}" for value in ratio), f"{whole:.2f}"])
    parts = [
        "# ONNX Runtime against torch",
        f"One sentence, voice {result['voice']}, one thread: CPU seconds per second of sound, medians, the two in turn.",
        markdown_table(["", *STAGES, "together"], rows),
        bars(by),
    ]
    if found := result.get("fresh"):
        table = [[name, f"{v['cpu']:.1f}", f"{v['wall']:.1f}", f"{v['mebibytes']:.0f}"] for name, v in found.items()]
        parts += [
            "## A fresh process to a sound file of 2.6 s",
            markdown_table(["", "CPU s", "wall s", "peak MiB"], table),
            "Wall times are those of a machine shared with other programs.",
        ]
    if found := result.get("understood"):
        table = [[name, "{:.2f} [{:.2f}, {:.2f}]".format(*rate)] for name, rate in found["wer"].items()]
        table.append(["onnx - torch", "{:.2f} [{:.2f}, {:.2f}]".format(*found["difference"])])
        parts += [
            "## Word error rate",
            f"{found['sentences']} development sentences, seed 0; {found['recogniser']}; {found['normaliser']}. "
            "Bootstrap intervals of 95%, the difference paired by sentence.",
            markdown_table(["", "WER %"], table),
        ]
    return "\n\n".join([*parts, footnote(result)]) + "\n"


def options(parser: argparse.ArgumentParser) -> None:
    """Those of this benchmark."""
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--voice", default="clara")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--set", type=Path)
    parser.add_argument("--recogniser", default="an unnamed recogniser", help="of the transcripts, for the page")
    parser.add_argument("--transcripts", nargs="+", metavar="NAME=FILE.jsonl")


def main(argv: list[str] | None = None) -> None:
    benchmark("runtime", str(__doc__), measure, render, options, argv)


if __name__ == "__main__":
    main()
