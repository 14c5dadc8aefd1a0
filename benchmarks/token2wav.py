"""Speech tokens to sound at CosyVoice 2's sizes: seconds of audio a second, offline and streaming, at several batch sizes.

    python benchmarks/token2wav.py [--device cuda] [--seconds 300] [--runs 3] [--tiny] [--out docs/results/token2wav.json]

Weights are random and made on the device; a prompt of 3 s; utterances of about 10 s; the flow in float16, the vocoder in float32,
where PyTorch's convolutions may use TF32.

- ``hops``: `mamtra.acoustic.hop_batch`, all rows in one launch, a history of 100 frames; also with a flow of two steps.
- ``one by one``: `FlowStream` and `VocoderStream` in the hops of `mamtra.synthesis.streaming`, rows of 10 s in lockstep, unbounded
  history: how streams were computed before, and are on a CPU.
- ``offline``: `mamtra.synthesis.token2wav.batch_to_samples`, lengths between 8 and 12 s in one batch.
- ``from scratch``: the hops of `one by one` as the reference implementation makes them. Each runs the flow over prompt and all
  tokens so far, and the vocoder starts 8 frames earlier with the excitation cached there.

A voice's prompt is computed once, before the clock starts. On CUDA everything runs as CUDA graphs, as a loaded model runs it. A
figure is the median wall time until the samples are on the host, without two warm-up runs, in which graphs are captured. Results
are written after each row, the most informative rows first; the page says how many were left out.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from record import benchmark, device_name
from token2wav_hops import HISTORY, Hops
from token2wav_phases import PHASES, PROMPT, RATE, STEPS, TOKENS, build, make_tokens, make_voice, prompt_of

from mamtra.acoustic.flow_stream import FlowStream
from mamtra.runtime.cuda_graphs import GraphCache
from mamtra.runtime.device import pick_device
from mamtra.runtime.results import markdown_table, page
from mamtra.synthesis.model import Model
from mamtra.voices.voice import Voice

COLUMNS = (
    "rows",
    "phase",
    "steps",
    "audio s / s",
    "to one by one",
    "seconds (range)",
    "first sound, ms",
    "a hop, ms",
    "peak, GiB",
)
PARTS = ("rows", "steps", "encoder", "estimator", "vocoder", "together")
FEW = 2
"""Steps of the few-step flow."""
NOTES = """\
A hop of one row is a chain of some thousand short kernels; those of this package start while the one before still runs. Many rows
are bound by arithmetic in the estimator's products and attention, and by memory in what lies between them; the vocoder's
convolutions are one kernel each with bias, residual and activation, in float16. Tried and dropped: an estimator's product, its sum
and the LayerNorm behind it as one kernel (a program then has to compute whole lines, of which there are too few for one row, and
with many rows it is slower than the library's product followed by the norm); a bfloat16 vocoder (20 dB more noise than float16 on
recordings of two embedded voices). What the estimator still takes are its products
and its attention, each a kernel of ten to twenty microseconds, of which the start and the last sums are a good part: the next step
is a block's products and norms in one kernel that keeps the frames of a row in shared memory. The flow's share of real time on two
CPU cores is in [the runtimes](runtime.md), column mel."""
ATTENTION = """\
Launches of a hop's attention that were tried: microseconds of one, by rows with guidance, and what a hop of 32 rows takes with them
(10 steps, commit {commit}). With 128 registers a thread four programs share a
multiprocessor, and those of 32 rows run at once."""


class Row(NamedTuple):
    """What is measured."""

    batch: int
    phase: str
    steps: int


def plan_rows(device: torch.device) -> list[Row]:
    """All rows, the most informative first."""
    if device.type != "cuda":
        return [Row(batch, phase, STEPS) for phase in PHASES for batch in (1, 2)]
    many, few = ({batch: Row(batch, "hops", steps) for batch in (1, 8, 32, 64, 128, 256)} for steps in (STEPS, FEW))
    offline, before = ([Row(batch, phase, STEPS) for batch in (32, 8, 1)] for phase in ("offline", "one by one"))
    first = [many[1], many[32], many[64], offline[0], few[64], few[256], few[128], many[256], before[0]]
    rest = [*many.values(), *few.values(), *offline, *before, *(Row(batch, "from scratch", STEPS) for batch in (1, 8))]
    return list(dict.fromkeys([*first, *rest]))


def use_graphs(model: Model) -> list[GraphCache]:
    """Turn graphs on; return their caches, which tell whether they are used."""
    caches = [GraphCache(model.device), GraphCache(model.device)]
    model.flow.use_graphs(caches[0])
    model.vocoder.use_graphs(caches[1])
    return caches


def release(device: torch.device) -> None:
    """Free unused memory, so that a row's peak is its own."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def measure_row(row: Row, model: Model, voice: Voice, tokens: int, runs: int, until: float) -> dict[str, Any]:
    """Measure `runs` runs of one phase, fewer when the time is up, but at least one after the warm-up."""
    device, firsts, times = model.device, [], []
    try:
        release(device)
        caches = use_graphs(model) if device.type == "cuda" and row.phase != "hops" else []
        work, audio = PHASES[row.phase](model, voice, row.batch, tokens)
        for run in range(-2, runs):
            if run > 0 and time.perf_counter() > until:
                break
            reached: list[float] = []
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            began = time.perf_counter()
            waves = work(lambda reached=reached: reached.append(time.perf_counter()))
            ended = time.perf_counter()
            if run >= 0:
                times.append(ended - began)
                firsts.append((reached[0] if reached else ended) - began)
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    except RuntimeError as error:  # of a kernel or graph on one device: the other rows are still worth having
        return {"failed": str(error).splitlines()[0][:200]}
    samples = sum(map(len, waves))
    assert abs(samples / RATE - audio) < 1e-6, (samples / RATE, audio)
    return {
        "runs": len(times),
        "audio_seconds": audio,
        "seconds": statistics.median(times),
        "fastest": min(times),
        "slowest": max(times),
        "audio_a_second": audio / statistics.median(times),
        "first_sound_ms": 1000 * statistics.median(firsts),
        "finite": bool(all(np.isfinite(wave).all() for wave in waves)),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "graphs_captured": sum(cache.count for cache in caches),
        "graphs_refused": next((cache.failure for cache in caches if cache.failure), ""),
        **(work.details() if isinstance(work, Hops) else {}),
    }


def compare(model: Model, voice: Voice, tokens: int) -> dict[str, Any]:
    """How much samples of hops differ from those of the flow and the vocoder of one stream, both in float32."""
    rows = make_tokens([tokens])
    hops = Hops(model, voice, 1, model.generation.flow_steps, rows)
    found = torch.from_numpy(hops(lambda: None)[0])
    stream = FlowStream(model.flow, *prompt_of(model, voice, 1), steps=model.generation.flow_steps, history=HISTORY)
    mel = stream.push(torch.tensor(rows, device=model.device), final=True)
    noise = hops.noise(len(found)).to(model.device)
    wanted = model.vocoder.inference(mel, noise=noise)[0].cpu()
    return {"relative_rms": ((found - wanted).square().mean() / wanted.square().mean()).sqrt().item()}


def earlier_of(path: Path) -> dict[str, Any]:
    """Commit, device and fastest audio a second, by phase and batch, of a record from before hops of many streams existed."""
    record = json.loads(path.read_text(encoding="utf-8"))
    best: dict[str, dict[str, float]] = {}
    for row in record["rows"]:
        if row["precision"] == "bf16" and row["phase"] != "from scratch" and "failed" not in row:
            phase = best.setdefault(row["phase"], {})
            phase[str(row["batch"])] = max(row["audio_a_second"], phase.get(str(row["batch"]), 0.0))
    return {"commit": record["commit"], "device": record["device"], "audio_a_second": best}


def before(rows: list[dict[str, Any]], row: dict[str, Any]) -> float | None:
    """Audio a second over that of `one by one` with as many rows, or with the most that were measured."""
    same = {r["batch"]: r["audio_a_second"] for r in rows if r["phase"] == "one by one" and "failed" not in r}
    if "failed" in row or not same:
        return None
    return row["audio_a_second"] / same.get(row["batch"], same[max(same)])


def goals(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """What was reached of the goals, where it was measured."""
    done = {(row["phase"], row["steps"], row["batch"]): row for row in rows if "failed" not in row}
    for steps, goal in ((STEPS, 600), (FEW, 1500)):
        found = {batch: row for batch in (64, 128, 256) if (row := done.get(("hops", steps, batch)))}
        if found:
            speeds = ", ".join(f"{row['audio_a_second']:,.0f}" for row in found.values())
            yield f"hops of {steps} steps, rows {', '.join(map(str, found))}, audio s / s", speeds, f"{goal:,}"
    if row := done.get(("offline", STEPS, 32)):
        yield "offline, 32 rows, audio s / s", f"{row['audio_a_second']:,.0f}", "700"
    for batch, goal in ((1, 20), (32, 45)):
        if row := done.get(("hops", STEPS, batch)):
            yield f"a hop of {batch} row{'s' * (batch > 1)}, {STEPS} steps, ms", f"{row['hop_ms']:.1f}", str(goal)
    for steps, goal in ((STEPS, 250), (FEW, 30)):
        if row := next(
            (row for key, row in done.items() if key[:2] == ("hops", steps) and "stream_bytes" in row), None
        ):
            yield f"memory of a stream, {steps} steps, MB", f"{row['stream_bytes'] / 1e6:.1f}", str(goal)


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""
    lines, parts = [], []
    for row in sorted(result["rows"], key=lambda row: (list(PHASES).index(row["phase"]), -row["steps"], row["batch"])):
        if "failed" in row:
            lines.append((row["batch"], row["phase"], row["steps"], row["failed"], *[""] * 5))
            continue
        times, peak = before(result["rows"], row), row["peak_bytes"]
        lines.append((
            row["batch"], row["phase"], row["steps"], f"{row['audio_a_second']:.0f}", "-" if times is None else f"{times:.2f}",
            f"{row['seconds']:.3f} ({row['fastest']:.3f} to {row['slowest']:.3f})", f"{row['first_sound_ms']:.0f}",
            f"{row['hop_ms']:.1f}" if "hop_ms" in row else "-", "-" if peak is None else f"{peak / 2**30:.1f}",
        ))  # fmt: skip
        if row.get("parts_ms"):
            shares = row["parts_ms"].values()
            parts.append((row["batch"], row["steps"], *(f"{each:.1f}" for each in shares), f"{sum(shares):.1f}"))
    left, check = result["planned"] - len(result["rows"]), result["hops_to_one_stream"]
    memory = {row["steps"]: row["stream_bytes"] for row in result["rows"] if "stream_bytes" in row}
    held = ", ".join(f"{size / 1e6:.1f} MB with {steps} steps" for steps, size in memory.items())
    size = "tiny" if result["tiny"] else "CosyVoice 2"
    earlier = result.get("earlier")
    left_out = f" {left} of {result['planned']} rows were left out: they did not fit into `--seconds`." if left else ""
    return page(
        result,
        "# Speech tokens to sound",
        f"Flow and vocoder of {size} size with random weights on {result['device']}; {STEPS} Euler steps with guidance, or {FEW} "
        f"steps of a few-step flow; prompt {PROMPT / 25:.0f} s, utterances of about {result['tokens'] / 25:.0f} s. Audio seconds a "
        f"second, all rows together. `hops`: all rows in one launch, each hop one second, a history of {HISTORY} frames; `one by "
        "one`: the way of a CPU, hops of one to four seconds, the whole history; `from scratch`: the same hops as the reference "
        f"implementation makes them; `offline`: one pass over everything.{left_out}",
        markdown_table(COLUMNS, lines),
        "First sound is the time until the first samples are on the host, offline all of them. A stream of `hops` needs two hops "
        "for it here: the prompt is a whole number of chunks, and the last of them waits for the stream's first tokens. While a "
        "language model speaks, that one is computed before the tokens of the second are there, so the wait is that of one hop. "
        "Rows without a counterpart are compared with the largest batch of `one by one`.",
        *([f"Before hops existed (commit {earlier['commit']}, {earlier['device']}), audio seconds a second: " + "; ".join(
            f"{phase} " + ", ".join(f"{speed:.0f} with {batch} rows" for batch, speed in speeds.items())
            for phase, speeds in earlier["audio_a_second"].items()
        ) + "."] if earlier else []),
        *filter(None, [result.get("note")]),
        *([f"Memory of a stream beyond its voice's shared prompt: {held}."] if held else []),
        *(["## Goals", markdown_table(("figure", "reached", "goal"), reached)] if (reached := list(goals(result["rows"]))) else []),
        *(["## Parts of a hop, ms", markdown_table(PARTS, parts), NOTES] if parts else []),
        *_launches(result.get("attention")),
        "Samples of hops in float32 differ from those of one stream's flow and vocoder by "
        f"{check['relative_rms']:.1e} (relative RMS).",
    )  # fmt: skip


def _launches(found: dict[str, Any] | None) -> list[str]:
    """A table of the launches of attention."""
    if found is None:
        return []
    rows = [
        (one["warps"], one["stages"], one["registers"] or "as compiled", *(f"{us:.1f}" for us in one["us"].values()),
         f"{one['hop_ms']:.1f}" if "hop_ms" in one else "")
        for one in found["launches"]
    ]  # fmt: skip
    heads = (
        "warps",
        "stages",
        "registers",
        *(f"{batch} row{'s' * (batch != '1')}" for batch in found["launches"][0]["us"]),
        "a hop, ms",
    )
    return [ATTENTION.format(commit=found["commit"]), markdown_table(heads, rows)]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all rows; the last one begun is finished")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each row")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--earlier", type=Path, help="a record from before hops existed, to name its figures")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try the script")


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows, those that were measured so far at each step."""
    began, device = time.perf_counter(), pick_device(args.device)
    plan, voice, model, made = plan_rows(device), make_voice(), None, None
    result = {
        "device": device_name(device), "tiny": args.tiny, "tokens": args.tokens, "planned": len(plan),
        "earlier": earlier_of(args.earlier) if args.earlier else None, "hops_to_one_stream": None, "rows": [],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        exact = build(device, False, args.tiny, Path(folder))
        torch.backends.cudnn.allow_tf32 = False  # for the comparison: the phase of a voiced sound adds up errors
        result["hops_to_one_stream"] = compare(exact, voice, args.tokens // 2)
        torch.backends.cudnn.allow_tf32 = True
        print(result["hops_to_one_stream"], file=sys.stderr, flush=True)
        exact = None
        for row in plan:
            if time.perf_counter() - began > args.seconds:
                break
            if made is None or row.phase != "hops" or made.phase != "hops" or made.steps != row.steps:
                model = None  # before the next one is made
                model = build(device, device.type == "cuda", args.tiny, Path(folder), row.steps)
            made = row
            found = measure_row(row, model, voice, args.tokens, args.runs, began + args.seconds)
            result["rows"].append({**row._asdict(), **found})
            print(f"{time.perf_counter() - began:.0f} s:", result["rows"][-1], file=sys.stderr, flush=True)
            yield result


def main(argv: list[str] | None = None) -> None:
    benchmark("token2wav", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
