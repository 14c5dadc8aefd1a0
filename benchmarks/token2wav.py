"""Speech tokens to sound at CosyVoice 2's sizes: seconds of audio a second, offline and streaming, at several batch sizes.

    python benchmarks/token2wav.py [--device cuda] [--seconds 150] [--runs 3] [--batches 1,8,32] [--tiny]
        [--out docs/results/token2wav.json]

Weights are random and made on the device; a prompt of 3 s; utterances of about 10 s.

- ``offline``: `mamtra.synthesis.token2wav.batch_to_samples`, lengths between 8 and 12 s in one batch.
- ``streaming``: `FlowStream` and `VocoderStream` in the hops of `mamtra.synthesis.streaming`, rows of 10 s in lockstep; the
  pass over the prompt is cached, as it is for all sentences but a voice's first.
- ``from scratch``: the same hops as the reference implementation makes them. Each runs the flow over prompt and all tokens so far,
  keeps the new frames, and the vocoder starts 8 frames earlier with the excitation cached there.

On CUDA each phase is measured with Euler steps and vocoder as CUDA graphs, as a loaded model runs them, and eagerly; first of all
the mel of a stream is compared between the two. A figure is the median wall time until the samples are on the host, without
warm-up runs: one, and two with graphs, in which they are captured. ``bf16`` has the flow in bfloat16 and the vocoder in float32;
``float32`` is PyTorch's default, where convolutions may use TF32. Results are written after each row, the most informative rows
first; the page says how many were left out.
"""

from __future__ import annotations

import argparse
import gc
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
from token2wav_phases import PHASES, PROMPT, RATE, STEPS, TOKENS, build, make_tokens, make_voice, prompt_of

from mamtra.acoustic.flow_stream import FlowStream
from mamtra.runtime.cuda_graphs import GraphCache
from mamtra.runtime.device import pick_device
from mamtra.runtime.results import footnote, markdown_table
from mamtra.synthesis.model import Model
from mamtra.voices.voice import Voice

COLUMNS = (
    *("precision", "batch", "phase", "launched"),
    *("audio s / s", "ratio", "seconds (range)", "first sound, ms", "peak, GiB", "runs"),
)


class Row(NamedTuple):
    """What is measured."""

    precision: str
    batch: int
    phase: str
    graphs: bool


def plan_rows(device: torch.device, batches: list[int], precisions: list[str]) -> list[Row]:
    """All rows, the most informative first: graphs before eager, the first precision before the second.

    Later precisions are measured with graphs only, if there are any, and without the largest batch.
    """
    launched = (True, False) if device.type == "cuda" else (False,)
    first = [Row(precisions[0], batch, phase, graphs) for graphs in launched for batch in batches for phase in PHASES]
    fewer = batches[:-1] or batches
    return first + [
        Row(kind, batch, phase, launched[0]) for kind in precisions[1:] for batch in fewer for phase in PHASES
    ]


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
        caches = use_graphs(model) if row.graphs else []
        work, audio = PHASES[row.phase](model, voice, row.batch, tokens)
        for run in range(-2 if row.graphs else -1, runs):
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
    }


def compare(model: Model, voice: Voice, tokens: int) -> dict[str, Any]:
    """How much a stream's mel differs with graphs, newly captured and replayed, from that without."""

    def mel() -> torch.Tensor:
        stream = FlowStream(model.flow, *prompt_of(model, voice, 1), steps=STEPS)
        pieces = torch.tensor(make_tokens([tokens]), device=model.device).split(38, dim=1)
        made = [stream.push(piece, final=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        return torch.cat(made, dim=2).cpu()

    try:
        wanted, again = mel(), mel()
        caches = use_graphs(model)
        errors = [mel() - wanted for _ in range(3)]
    except RuntimeError as error:
        return {"failed": str(error).splitlines()[0][:200]}
    rms = wanted.square().mean().sqrt()
    return {
        "relative_rms": max((error.square().mean().sqrt() / rms).item() for error in errors),
        "eager_again": ((again - wanted).square().mean().sqrt() / rms).item(),
        "graphs_captured": sum(cache.count for cache in caches),
        "graphs_refused": next((cache.failure for cache in caches if cache.failure), ""),
    }


def ratio(rows: list[dict[str, Any]], row: dict[str, Any]) -> float | None:
    """Audio a second over that of `from scratch` at the same launch mode; None where either is missing."""
    alike = ("precision", "batch", "graphs")
    same = [
        r["audio_a_second"]
        for r in rows
        if r["phase"] == "from scratch" and "failed" not in r and all(r[name] == row[name] for name in alike)
    ]
    return row["audio_a_second"] / same[0] if same and "failed" not in row else None


def best(rows: list[dict[str, Any]], precision: str, batch: int, phase: str) -> float | None:
    """Most audio a second of a phase over both launch modes."""
    wanted = (precision, batch, phase)
    found = [
        r["audio_a_second"] for r in rows if (r["precision"], r["batch"], r["phase"]) == wanted and "failed" not in r
    ]
    return max(found, default=None)


def summary(rows: list[dict[str, Any]]) -> str:
    """A table of each phase at its faster launch mode."""
    lines = []
    for precision, batch in dict.fromkeys((row["precision"], row["batch"]) for row in rows):
        speeds = [best(rows, precision, batch, phase) for phase in PHASES]
        scratch = speeds[list(PHASES).index("from scratch")]
        times = ["-" if speed is None or scratch is None else f"{speed / scratch:.2f}" for speed in speeds[1:]]
        lines.append((precision, batch, *("-" if speed is None else f"{speed:.1f}" for speed in speeds), *times))
    others = list(PHASES)[1:]
    return markdown_table(("precision", "batch", *PHASES, *(f"{phase}, ratio" for phase in others)), lines)


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""
    lines = []
    for row in result["rows"]:
        launched = "graphs" if row["graphs"] else "eager"
        if row.get("graphs_refused"):
            launched = "eager, capturing failed"
        if "failed" in row:
            lines.append((row["precision"], row["batch"], row["phase"], launched, row["failed"], "", "", "", "", ""))
            continue
        times = ratio(result["rows"], row)
        lines.append((
            row["precision"], row["batch"], row["phase"], launched, f"{row['audio_a_second']:.1f}",
            "-" if times is None else f"{times:.2f}", f"{row['seconds']:.3f} ({row['fastest']:.3f} to {row['slowest']:.3f})",
            f"{row['first_sound_ms']:.0f}", "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.1f}", row["runs"],
        ))  # fmt: skip
    left, check = result["planned"] - len(result["rows"]), result["graphs_to_eager"]
    parts = [
        "# Speech tokens to sound",
        f"Flow and vocoder of {'tiny' if result['tiny'] else 'CosyVoice 2'} size with random weights on {result['device']}, "
        f"{STEPS} Euler steps with guidance; prompt {PROMPT / 25:.0f} s, utterances of about {result['tokens'] / 25:.0f} s. "
        "Audio seconds a second, all rows of the batch together. `from scratch` recomputes the flow over prompt and all tokens at "
        "each hop, as the reference implementation does; `streaming` makes the same hops with caches; `offline` makes one pass "
        "over everything."
        + (f" {left} of {result['planned']} rows were left out: they did not fit into `--seconds`." if left else ""),
        "Each phase at its faster launch mode; ratios are to `from scratch`:",
        summary(result["rows"]),
        *filter(None, [result.get("note")]),
        "## All rows",
        "With `graphs`, Euler steps and vocoder are CUDA graphs; `eager` launches kernel by kernel. The ratio is to `from scratch` "
        "at the same batch, precision and launch mode. First sound is the time until the samples of the first hop, offline of all, "
        "are on the host.",
        markdown_table(COLUMNS, lines),
    ]  # fmt: skip
    if check is not None:
        parts.append(
            f"A stream's mel with graphs against the same stream without: {check['failed']}."
            if "failed" in check
            else f"A stream's mel with graphs differs from the same stream without by {check['relative_rms']:.1e} (relative RMS, "
            f"float32, batch 1; two runs without differ by {check['eager_again']:.1e}; {check['graphs_captured']} graphs)."
        )
    return "\n\n".join([*parts, "## How it was measured", footnote(result)]) + "\n"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device")
    parser.add_argument("--seconds", type=float, default=150.0, help="for all rows; the last one begun is finished")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each row")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--precisions", help="bf16,float32; default: both on CUDA, float32 on a CPU")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try the script")


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows, those that were measured so far at each step."""
    began, device = time.perf_counter(), pick_device(args.device)
    known = "bf16,float32" if device.type == "cuda" else "float32"
    plan = plan_rows(device, [int(n) for n in args.batches.split(",")], (args.precisions or known).split(","))
    result = {
        "device": device_name(device), "tiny": args.tiny, "tokens": args.tokens, "planned": len(plan),
        "graphs_to_eager": None, "rows": [],
    }  # fmt: skip
    voice, model, made = make_voice(), None, None
    with tempfile.TemporaryDirectory() as folder:
        if device.type == "cuda":
            result["graphs_to_eager"] = compare(build(device, False, args.tiny, Path(folder)), voice, args.tokens // 2)
            print(result["graphs_to_eager"], file=sys.stderr, flush=True)
        for row in plan:
            if time.perf_counter() - began > args.seconds:
                break
            if made is None or made.graphs or made.precision != row.precision:
                model = None  # before the next one is made
                model = build(device, row.precision == "bf16", args.tiny, Path(folder))
            made = row
            found = measure_row(row, model, voice, args.tokens, args.runs, began + args.seconds)
            result["rows"].append({**row._asdict(), **found})
            print(f"{time.perf_counter() - began:.0f} s:", result["rows"][-1], file=sys.stderr, flush=True)
            yield result


def main(argv: list[str] | None = None) -> None:
    benchmark("token2wav", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
