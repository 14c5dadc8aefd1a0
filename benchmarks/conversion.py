"""Converting a language model of CosyVoice 2's size on a CPU: seconds and memory, beside a plain conversion in memory.

    python benchmarks/conversion.py [--ratio 1:1] [--runs 3] [--out docs/results/conversion.json]

Weights are random, sizes those of CosyVoice 2 (24 layers of 896, 14 heads on 2, 151,936 text tokens, float32). ``streamed`` is
`mamtra.convert`; ``in memory`` reads the whole model, converts the modules and saves them; ``copy`` only copies the file. They take
turns, each in a process of its own. Memory is the greatest resident size less that of a process that has only imported the package.
Works on Linux and macOS.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from record import apart, benchmark, environment, say_progress

from mamtra.checkpoints.open_lm import open_language_model
from mamtra.conversion.job import Conversion
from mamtra.conversion.options import TransferOptions
from mamtra.cost.presets import cosyvoice2_config
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.results import markdown_table, page

METHODS = ("streamed", "in memory", "copy")
RATIOS = ("1:1", "1:3", "1:5", "1:11", "0:1")
WORK = """
import resource, sys, time
import torch, mamtra.conversion.directory
from mamtra.checkpoints.native import save_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
method, src, dst, ratio = sys.argv[1:]
plan = LayerPlan.from_ratio(24, ratio)
began = time.perf_counter()
if method == "streamed":
    mamtra.convert(src, dst, plan)
elif method == "in memory":
    stored = open_language_model(src)
    with torch.device("meta"):
        lm = SpeechLM(stored.config)
    lm.load_state_dict({name: tensor.clone() for name, tensor in
                        ((name, stored.read(name)) for name in stored.names)}, assign=True)
    student, _ = convert_attention_to_mamba(lm, plan, generator=torch.Generator().manual_seed(0))
    save_model(dst, {"lm": student})
seconds = time.perf_counter() - began
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def write_source(directory: Path) -> None:
    """The language model of CosyVoice 2 as it is published, with random weights."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from tests.foreign import cosyvoice_llm

    cosyvoice_llm(directory, lm=cosyvoice2_config())


def run_once(method: str, src: Path, dst: Path, ratio: str, threads: int) -> tuple[float, int]:
    """Seconds of the work itself, and the greatest resident size in bytes of its process."""
    if method == "copy":
        began = time.perf_counter()
        shutil.copyfile(src / "llm.pt", dst)
        return time.perf_counter() - began, 0
    command = [sys.executable, "-c", WORK, method, str(src), str(dst), ratio]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(threads))
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), int(peak)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All methods in turn, `--runs` times."""
    with tempfile.TemporaryDirectory() as folder, say_progress("Converting") as bar:
        task = bar.add_task("", total=args.runs * len(METHODS))
        found = run_all(Path(folder), args, lambda: bar.advance(task))
    yield {"ratio": args.ratio, "runs": args.runs, **found}


def run_all(folder: Path, args: argparse.Namespace, tick: Callable[[], None]) -> dict[str, Any]:
    """Times, memory and parameters."""
    src = folder / "source"
    apart(write_source, src)
    teacher = open_language_model(src)
    idle = run_once("nothing", src, folder / "none", args.ratio, args.threads)[1]
    found: dict[str, Any] = {method: {"seconds": [], "peak_bytes": []} for method in METHODS}
    for _ in range(args.runs):
        for method in METHODS:
            dst = folder / "made"
            seconds, peak = run_once(method, src, dst, args.ratio, args.threads)
            found[method]["seconds"].append(seconds)
            found[method]["peak_bytes"].append(max(0, peak - idle))
            if dst.is_dir():
                found[method]["bytes"] = sum(file.stat().st_size for file in dst.glob("*.safetensors"))
                shutil.rmtree(dst)
            else:
                dst.unlink()
            tick()
    plans = {ratio: Conversion(teacher, LayerPlan.from_ratio(24, ratio)) for ratio in RATIOS}
    no_biases = TransferOptions(qkv_bias="drop")
    plans["1:1, biases of q, k, v dropped"] = Conversion(teacher, LayerPlan.from_ratio(24, "1:1"), no_biases)
    parameters = {ratio: plan.parameters for ratio, plan in plans.items()}
    with torch.device("meta"):
        built = {ratio: sum(p.numel() for p in SpeechLM(plan.config).parameters()) for ratio, plan in plans.items()}
    return {
        "source_bytes": (src / "llm.pt").stat().st_size,
        "largest_tensor_bytes": max(info.bytes for info in teacher.source.tensors.values()),
        "idle_bytes": idle,
        "methods": found,
        "teacher_parameters": teacher.parameters,
        "parameters": {"by shapes": parameters, "of the modules": built},
    }


def render(result: dict[str, Any]) -> str:
    """The page, in Markdown."""
    methods = result["methods"]
    base = statistics.median(methods["streamed"]["seconds"])
    rows = []
    for method in METHODS:
        seconds, peaks = methods[method]["seconds"], methods[method]["peak_bytes"]
        middle = statistics.median(seconds)
        memory = f"{statistics.median(peaks) / 2**20:,.0f}" if max(peaks) else "-"
        rows.append(
            (method, f"{middle:.1f} ({min(seconds):.1f} to {max(seconds):.1f})", f"{middle / base:.2f}", memory)
        )
    before = result["teacher_parameters"]
    counted = result["parameters"]
    counts = [
        (ratio, f"{n:,}", f"{counted['of the modules'][ratio]:,}", f"{(n - before) / 1e6:+.2f} M")
        for ratio, n in counted["by shapes"].items()
    ]
    return page(
        result,
        "# Converting a model of CosyVoice 2's size",
        f"{before:,} parameters in float32, {result['source_bytes'] / 2**20:,.0f} MiB in llm.pt, "
        f"largest tensor {result['largest_tensor_bytes'] / 2**20:,.0f} MiB; random weights; ratio {result['ratio']}; median of "
        f"{result['runs']} runs (least to greatest). Memory is beyond the {result['idle_bytes'] / 2**20:,.0f} MiB of a process "
        "that has only imported the package. `streamed` also hashes the source, reads the result back and checks it.",
        markdown_table(("method", "seconds", "ratio", "memory, MiB"), rows),
        "## Parameters",
        markdown_table(("ratio", "by shapes", "of the modules", "against the teacher"), counts),
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ratio", default="1:1")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)


def main(argv: list[str] | None = None) -> None:
    benchmark("conversion", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
