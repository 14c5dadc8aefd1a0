"""ONNX Runtime against torch on one CPU: speed, start-up and memory; how well both are understood: `runtime_quality.py`.

    python benchmarks/runtime.py [--runs 3] [--voice NAME] [--kokoro DIR] [--wheel FILE] [--resume]
        [--out docs/results/runtime.json]

Long text and first audio with all cores and with one, fresh processes with all, stages with one thread; ways of computing take
turns, and medians are given. CPU seconds are beside those of the clock, since other programs disturb them less. It takes about ten
minutes of an idle machine with two cores; --out is written after each part, and --resume makes those that it lacks.

With --wheel an installation is timed, with packages that pip has cached.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
from kokoro import Kokoro
from record import benchmark

from mamtra.runtime.results import markdown_table, page

TEXT = "The quick brown fox jumps over the lazy dog, and then it walks slowly back home."
LONG = (
    "The old lighthouse keeper climbed the winding stairs every evening, carrying a small brass lamp. While the wind pressed "
    "against the glass he would sit down at his desk. He opened the heavy book in which the ships were written, and waited for "
    "the first light of the harbour to answer his own."
)
COLD = "Hello! This voice runs on your own machine."
ROWS, STEPS = (1, 2, 4, 8), 50
LARGE = 2
"""MB of a package that is shown by itself."""
OF_LIGHT = ("light", "web", "assets/mini-fast")
"""Folders of the package that came with this runtime."""
STAGES = ("speech tokens", "mel", "samples")
DEFAULT = "onnx, mini-fast, int8 LM"
FRESH = {
    "torch": ["--runtime", "torch"],
    "onnx": ["--runtime", "onnx", "--model", "mini", "--float-lm"],
    "onnx, int8 LM": ["--runtime", "onnx", "--model", "mini"],
    "onnx, mini-fast": ["--runtime", "onnx", "--float-lm"],
    DEFAULT: ["--runtime", "onnx"],
}
GOALS = {
    "real-time factor, long text": ("warm", "rtf", 1, 0.05),
    "... one core": ("one core", "rtf", 1, 0.09),
    "first audio, ms": ("warm", "first", 1000, 80),
    "fresh process to a sound file, s": ("fresh", "wall", 1, 0.8),
    "peak memory, MiB": ("fresh", "mebibytes", 1, 160),
    "installation, s": ("installation", "seconds", 1, 10),
    "installation, MB": ("installation", "megabytes", 1, 150),
}
"""Of the default: part of the record, what was measured, its factor, and what it should be at most."""
BASELINE = "torch"
SPEEDS: dict[str, dict[str, Any]] = {
    BASELINE: {"runtime": "torch", "device": "cpu"},
    "onnx": {"model": "mini", "runtime": "onnx", "int8_lm": False},
    "onnx, int8 LM": {"model": "mini", "runtime": "onnx"},
    "onnx, 3 flow steps": {"runtime": "onnx", "flow_steps": 3, "int8_lm": False},
    "onnx, mini-fast": {"runtime": "onnx", "int8_lm": False},
    DEFAULT: {"runtime": "onnx"},
}
PEER = "Kokoro-82M, int8"
PEAK = """
import resource, sys
from pathlib import Path
from mamtra.cli import main
status, facts = main(sys.argv[1:]), Path("/proc/self/status")
if facts.is_file():  # not what the system counts for the process, which may be what its parent held
    print(next(int(line.split()[1]) / 2**10 for line in facts.read_text().splitlines() if line.startswith("VmHWM")))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
sys.exit(status)
"""
Series = dict[str, dict[str, list[float]]]


def medians(made: Series) -> dict[str, dict[str, float]]:
    """Of each series, by way and what was measured."""
    return {way: {what: statistics.median(values) for what, values in by.items()} for way, by in made.items()}


def stages(voice: str, runs: int) -> dict[str, dict[str, float]]:
    """CPU seconds per second of sound of each stage, with one thread, after one run for warming up."""
    import torch

    from mamtra import load
    from mamtra.acoustic.flow_matching import fixed_noise
    from mamtra.checkpoints.find import find_model
    from mamtra.light.model import LightModel
    from mamtra.light.run import start_run
    from mamtra.light.speaking import prompt_store
    from mamtra.synthesis.pipeline import Request
    from mamtra.synthesis.sentence import generate_tokens

    torch.set_num_threads(1)
    tts = load(runtime="torch", device="cpu")
    model, theirs = tts.model, tts.voice(voice)
    ours, ids = theirs.to("numpy"), list(model.text.segments(TEXT)[0].ids)
    fixed_noise(80)

    def torch_parts() -> Iterator[int]:
        yield len(tokens := generate_tokens(model, theirs, ids, 0)[0])
        prompt = (theirs.prompt_speech[None], theirs.prompt_mel[None], theirs.embedding[None])
        yield len(mel := model.flow.inference(torch.tensor([tokens]), *prompt, steps=model.generation.flow_steps))
        noise = model.vocoder.noise(torch.Generator().manual_seed(0))(mel.shape[-1] * model.vocoder.config.hop)
        yield len(model.vocoder.inference(mel, noise=noise))

    def light_parts(light: LightModel) -> Callable[[], Iterator[int]]:
        prompts = prompt_store(light)

        def parts() -> Iterator[int]:
            yield len(tokens := list(start_run(Request(light, ours), ids, 0)))
            yield len(mel := prompts.stream(ours).whole(np.array(tokens)))
            yield len(light.vocoder.whole(mel, 0))

        return parts

    directory = model.directory
    ways = {"torch": torch_parts, "onnx": light_parts(LightModel(directory, threads=1))}
    ways["onnx, int8 LM"] = light_parts(LightModel(directory, threads=1, int8_lm=True))
    fast = find_model("mini-fast")
    ways[DEFAULT] = light_parts(LightModel(fast, threads=1, int8_lm=True))
    made: Series = {name: {stage: [] for stage in STAGES} for name in ways}
    for turn in range(runs + 1):
        for name, parts in ways.items():
            begun, seconds = time.process_time(), 0.0
            for stage, size in zip(STAGES, parts(), strict=True):
                spent = time.process_time() - begun
                seconds = size / 25 if stage == STAGES[0] else seconds
                if turn:
                    made[name][stage].append(spent / seconds)
                begun = time.process_time()
    return medians(made)


def warm(voice: str, runs: int, kokoro: Path | None, threads: int) -> dict[str, dict[str, float]]:
    """Long text and first audio of voices that have spoken before, with so many cores."""
    import torch

    from mamtra import load

    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):  # threads that are made from now on stay on these cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    voices: dict[str, Any] = {way: load(**options) for way, options in SPEEDS.items()}
    if kokoro is not None:
        voices[PEER] = Kokoro(kokoro, voices[BASELINE], threads)
    kinds = ("rtf", "rtf cpu", "first", "first cpu")
    made: Series = {way: {kind: [] for kind in kinds} for way in voices}
    for turn in range(runs + 1):
        for way, tts in voices.items():
            given = {} if way == PEER else {"voice": voice}
            clock, cpu = time.perf_counter(), time.process_time()
            seconds = tts.say(LONG, **given).seconds
            long = [(time.perf_counter() - clock) / seconds, (time.process_time() - cpu) / seconds]
            clock, cpu = time.perf_counter(), time.process_time()
            next(iter(chunks := tts.stream(TEXT, **given)))
            first = [time.perf_counter() - clock, time.process_time() - cpu]
            if not isinstance(chunks, list):
                chunks.close()
            if turn:
                for kind, value in zip(kinds, long + first, strict=True):
                    made[way][kind].append(value)
    return medians(made)


def steps(runs: int) -> dict[str, dict[str, float]]:
    """CPU milliseconds of a step of the LM with one thread for so many sentences side by side, 250 positions into them."""
    from mamtra.checkpoints.find import find_model
    from mamtra.light.lm_state import LMRows
    from mamtra.light.model import LightModel

    ways = {"float32": LightModel(find_model(), threads=1), "int8": LightModel(find_model(), threads=1, int8_lm=True)}
    states = {
        (way, rows): LMRows(model.lm, rows, 250 + STEPS * (runs + 1)) for way, model in ways.items() for rows in ROWS
    }
    made: Series = {way: {str(rows): [] for rows in ROWS} for way in ways}
    for turn in range(runs + 1):
        for (way, rows), state in states.items():
            x = np.zeros((rows, ways[way].config["lm"]["hidden_size"]), np.float32)
            if not turn:
                state.lengths[:] = 250
            begun = time.process_time()
            for _ in range(STEPS):
                state.step(x)
            made[way][str(rows)] += [1000 * (time.process_time() - begun) / STEPS] if turn else []
    return medians(made)


def fresh(voice: str, runs: int) -> dict[str, dict[str, float]]:
    """CPU and wall seconds from nothing to a sound file, and peak memory in MiB, after one process for warming up."""
    made: Series = {name: {"cpu": [], "wall": [], "mebibytes": []} for name in FRESH}
    with tempfile.TemporaryDirectory() as folder:
        target, environment = Path(folder) / "x.wav", {**os.environ, "MAMTRA_CACHE": str(Path(folder) / "cache")}
        # as in an installation, modules are compiled once
        environment |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}
        for turn in range(runs + 1):
            for name, found in made.items():
                command = ["say", COLD, *FRESH[name], "--voice", voice, "-q", "-o", str(target)]
                begun, wall = _children(), time.perf_counter()
                words = [sys.executable, "-c", PEAK, *command]
                done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
                spent = {
                    "wall": time.perf_counter() - wall,
                    "cpu": _children() - begun,
                    "mebibytes": float(done.stdout),
                }
                for what, value in spent.items():
                    found[what] += [value] if turn else []
                target.unlink()
    return medians(made)


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def install(wheel: Path) -> dict[str, Any]:
    """Seconds that an installation into a new environment takes, and its size in MB without pip itself, by packages too."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        begun = time.perf_counter()
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", str(wheel)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
        seconds = time.perf_counter() - begun
        files = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]
        found = distributions(path=[str(next(Path(folder).rglob("site-packages")))])
        packages = {each.name: [Path(str(each.locate_file(file))) for file in each.files or ()] for each in found}
        sizes = {name: _megabytes(path for path in parts if path.is_file()) for name, parts in packages.items()}
        return {"seconds": seconds, "megabytes": _megabytes(files), "packages": sizes, "wheel": _folders(wheel)}


def _folders(wheel: Path) -> dict[str, float]:
    """MB of a wheel, and of what came with this runtime in it."""
    with zipfile.ZipFile(wheel) as packed:
        sizes = [(each.filename, each.compress_size / 1e6) for each in packed.infolist()]
    folders = {name: sum(size for path, size in sizes if path.startswith(f"mamtra/{name}/")) for name in OF_LIGHT}
    return {"all": wheel.stat().st_size / 1e6, **folders}


def _megabytes(files: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in files) / 1e6


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that was measured so far."""
    voice, runs, threads = args.voice, args.runs, os.cpu_count() or 1
    parts: dict[str, Callable[[], Any]] = {
        "fresh": lambda: fresh(voice, runs),
        "warm": lambda: warm(voice, runs, args.kokoro, threads),
        "stages": lambda: stages(voice, runs),
        "steps": lambda: steps(runs),
        "one core": lambda: warm(voice, runs, args.kokoro, 1),
    }
    if args.wheel is not None:
        parts = {"installation": lambda: install(args.wheel), **parts}
    found: dict[str, Any] = {"voice": voice}
    if args.resume:
        kept = json.loads(args.out.read_text(encoding="utf-8"))
        found |= {key: kept[key] for key in (*parts, "commit", "command") if key in kept}
    for name, make in parts.items():
        if name not in found:
            found[name] = make()
            yield found


def bars(by: dict[str, dict[str, float]]) -> str:
    """A picture of where the time goes, in characters: one for each hundredth of a second."""
    marks = dict(zip(STAGES, "▓▒░", strict=True))
    width = max(map(len, by))
    lines = [
        f"{name:{width}} " + "".join(marks[stage] * round(100 * part[stage]) for stage in STAGES)
        for name, part in by.items()
    ]
    legend = "  ".join(f"{mark} {stage}" for stage, mark in marks.items())
    return "\n".join(["```", *lines, f"{'':{width}} {legend}", "```"])


def speeds(by: dict[str, dict[str, float]]) -> str:
    """Table of what `warm` gives."""
    rows = [
        [way, f"{v['rtf']:.3f}", f"{v['rtf cpu']:.3f}", f"{1000 * v['first']:.0f}", f"{1000 * v['first cpu']:.0f}"]
        for way, v in by.items()
    ]
    return markdown_table(["", "long text", "CPU", "first audio, ms", "CPU, ms"], rows)


def render(result: dict[str, Any]) -> str:
    """The page of a result, of the parts that it has."""
    parts = ["# ONNX Runtime against torch"]
    if by := result.get("warm"):
        parts += [
            f"Voice {result['voice']}. A text of three sentences in seconds of computing per second of sound, and the milliseconds "
            "to the first audio of a stream, of voices that have spoken before. Kokoro has no stream: its first audio is a "
            f'sentence. What `--runtime onnx` takes by default is the row "{DEFAULT}".',
            speeds(by),
        ]
    if by := result.get("one core"):
        parts += ["## With one core", speeds(by)]
    if by := result.get("stages"):
        rows = [
            [name, *(f"{part[stage]:.3f}" for stage in STAGES), f"{sum(part.values()):.3f}"]
            for name, part in by.items()
        ]
        parts += [
            "## Where the time goes",
            "One sentence with one thread: CPU seconds per second of sound.",
            markdown_table(["", *STAGES, "together"], rows),
            bars(by),
        ]
    if by := result.get("steps"):
        rows = [[way, *(f"{v[str(count)]:.2f}" for count in ROWS)] for way, v in by.items()]
        parts += [
            "## A step of the language model",
            "CPU milliseconds with one thread, for so many sentences side by side, by the weights that are multiplied.",
            markdown_table(["", *map(str, ROWS)], rows),
        ]
    if by := result.get("fresh"):
        rows = [[name, f"{v['cpu']:.1f}", f"{v['wall']:.1f}", f"{v['mebibytes']:.0f}"] for name, v in by.items()]
        parts += [
            "## A fresh process to a sound file of 2.6 s",
            markdown_table(["", "CPU s", "wall s", "peak MiB"], rows),
        ]
    if made := result.get("installation"):
        parts.append(
            f"Installing the package into a new environment, with packages that pip has cached, took {made['seconds']:.0f} s and "
            f"{made['megabytes']:.0f} MB."
        )
        sizes = sorted(made.get("packages", {}).items(), key=lambda each: -each[1])
        large = [[name, f"{size:.0f}"] for name, size in sizes if size >= LARGE]
        rest = sum(size for _, size in sizes if size < LARGE)
        if large:
            parts.append(markdown_table(["package", "MB"], [*large, ["the others", f"{rest:.0f}"]]))
        if whole := (folders := dict(made.get("wheel", {}))).pop("all", None):
            only = ", ".join(f"`{name}` {size:.2f} MB" for name, size in folders.items())
            parts.append(f"Of the wheel's {whole:.1f} MB, what came with this runtime: {only}.")
    rows = [
        [goal, f"{float(f'{value * factor:.3g}'):g}", f"{most:g}"]
        for goal, (part, what, factor, most) in GOALS.items()
        if (value := result.get(part, {}).get(DEFAULT, result.get(part, {})).get(what)) is not None
    ]
    if rows:
        parts += ["## Goals", f'Of the row "{DEFAULT}".', markdown_table(["", "measured", "at most"], rows)]
    parts.append(
        "All times are medians, the ways in turn. Those by the clock hold what other programs of the machine took."
    )
    return page(result, *parts)


def options(parser: argparse.ArgumentParser) -> None:
    """Those of this benchmark."""
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--voice", default="clara")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help=argparse.SUPPRESS)
    parser.add_argument("--kokoro", type=Path, metavar="DIR", help="Kokoro-82M as a peer, see kokoro.py")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="of this package, to be installed")
    parser.add_argument("--resume", action="store_true", help="keep what --out has")


def main(argv: list[str] | None = None) -> None:
    benchmark("runtime", str(__doc__), measure, render, options, argv)


if __name__ == "__main__":
    main()
