"""Loading a whole CosyVoice 2 directory and the model converted from it: seconds, and memory against the weights themselves.

    python benchmarks/cosyvoice_directory.py [--device cpu] [--seconds 600] [--out docs/results/cosyvoice_directory.json]

A directory of the published layout and sizes is made with random weights (the two ONNX files, the tokenizer and the preset speaker
are small stand-ins), converted at 1:1, and both are loaded in float32 and bfloat16 (LM; flow and vocoder are float32 always), each
in a process of its own, which then speaks 125 tokens (5 s). Memory is the greatest resident size beyond that of a process that has
only imported PyTorch, once every weight was read, since files may be mapped into memory; loading must not exceed 1.15 times the
weights. On CUDA the device's greatest allocation is noted too. Everything is made in a temporary folder (5 GB) and removed. Rows
are written as they come.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import apart, benchmark, device_name, environment

from mamtra.acoustic.flow import FlowConfig
from mamtra.acoustic.hift import HiFTConfig
from mamtra.cost.presets import cosyvoice2_config
from mamtra.runtime.device import pick_device
from mamtra.runtime.results import footnote, markdown_table

KINDS = ("float32", "bfloat16")
WORK = """
import json, resource, sys, time
import torch
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
directory, kind, device = sys.argv[1:]
idle = peak()
import itertools
from pathlib import Path
from mamtra.synthesis.open_model import open_model
from mamtra.engine.reference import generate
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.voices.library import VoiceLibrary
from mamtra.voices.voice import Voice
began = time.perf_counter()
model = open_model(Path(directory), device, getattr(torch, kind))
parts = model.lm, model.flow, model.vocoder
if device != "cpu":
    torch.cuda.synchronize()
found = {"load_seconds": time.perf_counter() - began, "idle_bytes": idle, "mapped_peak_bytes": peak() - idle}
for part in parts:
    for weight in part.parameters():
        weight.view(torch.uint8).amax() if weight.dim() else weight.item()
found["load_peak_bytes"] = peak() - idle
found["weight_bytes"] = sum(p.nbytes for part in parts for p in part.parameters())
if device != "cpu":
    found["device_load_peak_bytes"] = torch.cuda.max_memory_allocated()
voice = (Voice.preset("ann", model.speakers["ann"], model.voice_space) if model.speakers
         else Voice.load(VoiceLibrary(directory).path("ann")))
began = time.perf_counter()
codes = list(itertools.islice(generate(model.lm, range(100), step=sequence_step(model.lm),
                                       generator=torch.Generator().manual_seed(0)), 125))
samples = tokens_to_samples(model, voice, codes, seed=0)
found |= {"speak_seconds": time.perf_counter() - began, "tokens": len(codes), "audio_seconds": len(samples) / 24000}
found["speak_peak_bytes"] = peak() - idle
if device != "cpu":
    found["device_speak_peak_bytes"] = torch.cuda.max_memory_allocated()
print(json.dumps(found))
"""


def write_directory(directory: Path) -> None:
    """CosyVoice 2 as it is published, with random weights."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from tests.foreign import cosyvoice_directory
    from tests.tiny_onnx import write_onnx_files

    cosyvoice_directory(directory, lm=cosyvoice2_config(), flow=FlowConfig(), vocoder=HiFTConfig(), prompt=50)
    write_onnx_files(directory, 192)


def convert(source: Path, made: Path) -> None:
    import mamtra
    from mamtra.models.plan import LayerPlan

    mamtra.convert(source, made, LayerPlan.from_ratio(24, "1:1"))


def run_once(directory: Path, kind: str, device: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-c", WORK, str(directory), kind, device]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(threads))
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""

    def mib(value: int | None) -> str:
        return "-" if value is None else f"{value / 2**20:,.0f}"

    lines = []
    for row in result["rows"]:
        if "failed" in row:
            lines.append((row["directory"], row["precision"], row["failed"], *[""] * 8))
            continue
        weights, load = row["weight_bytes"], row["load_peak_bytes"]
        of_device = row.get("device_load_peak_bytes")
        lines.append((
            row["directory"], row["precision"], f"{row['load_seconds']:.1f}", mib(weights), mib(load), f"{load / weights:.2f}",
            mib(of_device), "-" if of_device is None else f"{of_device / weights:.2f}", mib(row["speak_peak_bytes"]),
            f"{row['audio_seconds']:.1f}", f"{row['speak_seconds']:.1f}",
        ))  # fmt: skip
    return "\n\n".join([
        "# A CosyVoice 2 directory, as published and converted",
        f"Random weights at full size on {result['device']}; the converted one is a 1:1 hybrid. Memory in MiB beyond a process "
        f"that has only imported PyTorch.",
        markdown_table(
            ("directory", "LM", "load, s", "weights", "load, peak", "of weights", "device, peak", "of weights", "speaking, peak",
             "speech, s", "in s"),
            lines,
        ),
        "## How it was measured",
        footnote(result),
    ]) + "\n"  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="CUDA where there is one, else the CPU")
    parser.add_argument("--seconds", type=float, default=600.0, help="no row begins later")
    parser.add_argument("--threads", type=int, default=2)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows, those that were measured so far at each step."""
    began, device = time.perf_counter(), pick_device(args.device)
    result: dict[str, Any] = {"device": device_name(device), "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        places = {"as published": Path(folder) / "published", "converted": Path(folder) / "converted"}
        apart(write_directory, places["as published"])
        for name, place in places.items():
            if name == "converted":
                apart(convert, places["as published"], place)
            for kind in KINDS:
                if time.perf_counter() - began > args.seconds:
                    break
                row = {"directory": name, "precision": kind, **run_once(place, kind, device.type, args.threads)}
                result["rows"].append(row)
                print(row, file=sys.stderr, flush=True)
                yield result


def main(argv: list[str] | None = None) -> None:
    benchmark("cosyvoice_directory", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
