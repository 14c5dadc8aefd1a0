"""Language model and token-to-sound on one GPU together, or on GPUs of their own: which serves more streams?

    python benchmarks/colocation.py [--device cuda] [--seconds 2] [--tiny] [--out docs/results/colocation.json]

At CosyVoice 2's sizes with random weights: steps of a 1:1 hybrid's engine (bfloat16, 512 positions) and hops of the flow and the
vocoder (a second of each stream; history of 100 frames, prompt of 3 s), both as captured graphs, each from a thread and a CUDA
stream of its own as the server runs them, first alone and then both at once.

Streams of a GPU follow from the rates. Together, steps run while they are needed and hops run always: if steps make A tokens a
second alone and B beside hops, and hops make C seconds of audio a second alone and D beside steps, s streams need steps during 25 s
/ B of each second, so that s = C / (1 + (C - D) 25 / B). Apart, of N GPUs n make tokens, and s N = min(n A / 25, (N - n) C) for the
best n; neither the way of tokens and states between machines nor an idle host is counted against it.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from record import benchmark, device_name
from token2wav_hops import Hops
from token2wav_phases import build, make_tokens, make_voice

from mamtra.acoustic.hop_batch import chunks
from mamtra.acoustic.hop_rows import HopRow
from mamtra.bench.decode import engine_at
from mamtra.cost.measured_memory import random_lm
from mamtra.runtime.cuda_graphs import CudaGraphs
from mamtra.runtime.device import pick_device
from mamtra.runtime.results import markdown_table, page

TOKENS = 25
"""A second of speech."""
LENGTH, AGAIN = 512, 64
"""Positions of the streams of the language model; steps after which they begin again."""
GPUS = (2, 4, 8)
WORTH = 0.15
"""Fraction more streams from which on two kinds of deployments would be worth their trouble."""


@torch.inference_mode()
def lm_steps(rows: int, device: torch.device, tiny: bool) -> Callable[[], object]:
    """Starts a step of the engine for so many streams."""
    step = engine_at(random_lm("1:1", device, tiny), rows, LENGTH, LENGTH + 2 * AGAIN, device)
    slots = torch.arange(rows, dtype=torch.int32, device=device)
    launch, made = captured(lambda: step(slots), device), 0

    def run() -> None:
        nonlocal made
        if made % AGAIN == 0:
            step.pool.lengths[:rows] = LENGTH
        made += 1
        launch()

    return run


@torch.inference_mode()
def hops(rows: int, steps: int, device: torch.device, tiny: bool, folder: Path) -> Callable[[], object]:
    """Starts a hop of so many streams."""
    model = build(device, device.type == "cuda", tiny, folder, steps)
    voice, tokens = make_voice(), make_tokens([10 * TOKENS])[0]
    made = Hops(model, voice, rows, steps, [tokens] * rows)
    batch = made.batch
    streams = [HopRow(batch.pool, made.voice, batch.sound, seed) for seed in range(rows)]
    for _ in range(3):
        given = [stream.next(tokens, True) for stream in streams]
    if device.type != "cuda":
        return lambda: batch(given)
    front = chunks(len(made.voice.pages))
    batch.capture(rows, front)
    packed = batch._pack(given, rows, front)
    return lambda: batch.graphs.replay("_hop", [packed])


def captured(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """What starts it again: a graph, on a GPU."""
    graphs = CudaGraphs(device)
    if not graphs.available:
        return run
    graphs.warm_up(run)
    return graphs.capture(run)[0]


def rates(works: Sequence[Callable[[], object]], device: torch.device, seconds: float) -> list[float]:
    """How often a second each is done, all at once; the first one's kernels go first."""
    done, start = [0.0] * len(works), threading.Barrier(len(works))
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # what the default stream has begun

    def worker(number: int, work: Callable[[], object]) -> None:
        stream = torch.cuda.Stream(device, -1 if number == 0 else 0) if device.type == "cuda" else None
        with torch.inference_mode(), nullcontext() if stream is None else torch.cuda.stream(stream):
            work()
            start.wait()
            began, count, before = time.perf_counter(), 0, None
            while time.perf_counter() - began < seconds:
                work()
                count += 1
                if stream is not None:  # one more is under way, as in the engines
                    event = torch.cuda.Event()
                    event.record()
                    if before is not None:
                        before.synchronize()
                    before = event
            done[number] = count / (time.perf_counter() - began)
            if stream is not None:  # its memory may be given to others next
                stream.synchronize()

    threads = [threading.Thread(target=worker, args=each) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One pair of batch sizes after another."""
    device = pick_device(args.device)
    result: dict[str, Any] = {"device": device_name(device), "tiny": args.tiny, "seconds": args.seconds, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for steps in map(int, args.steps.split(",")):
            for many in map(int, args.hop_rows.split(",")):
                hop = hops(many, steps, device, args.tiny, Path(folder))
                for rows in map(int, args.lm_rows.split(",")):
                    step = lm_steps(rows, device, args.tiny)
                    ((steps_alone,), (hops_alone,)) = (rates([work], device, args.seconds) for work in (step, hop))
                    both = rates([step, hop], device, args.seconds)
                    result["rows"].append({
                        "steps": steps, "lm_rows": rows, "hop_rows": many, "tokens_alone": rows * steps_alone,
                        "audio_alone": many * hops_alone, "tokens": rows * both[0], "audio": many * both[1],
                    })  # fmt: skip
                    yield result
                    del step
                del hop


def together(row: dict[str, Any]) -> float:
    """Streams of a GPU that does both."""
    lost = max(0.0, row["audio_alone"] - row["audio"])
    return min(row["tokens"] / TOKENS, row["audio_alone"] / (1 + lost * TOKENS / row["tokens"]))


def apart(row: dict[str, Any], gpus: int) -> float:
    """Streams for each of so many GPUs of which some do one thing and the others the other."""
    of_lm, of_hops = row["tokens_alone"] / TOKENS, row["audio_alone"]
    return max(min(n * of_lm, (gpus - n) * of_hops) for n in range(1, gpus)) / gpus


def render(result: dict[str, Any]) -> str:
    """The page."""
    lines, shared, divided = [], dict[int, float](), dict[int, float]()  # most streams by steps of the flow
    for row in result["rows"]:
        one, others = together(row), [apart(row, gpus) for gpus in GPUS]
        steps = row["steps"]
        shared[steps], divided[steps] = max(one, shared.get(steps, 0)), max(*others, divided.get(steps, 0))
        lines.append([
            row["steps"], row["lm_rows"], row["hop_rows"], *(f"{row[name]:,.0f}" for name in
            ("tokens_alone", "tokens", "audio_alone", "audio")), f"{one:.0f}", *(f"{each:.0f}" for each in others),
        ])  # fmt: skip
    header = ["flow steps", "streams a step", "streams a hop", "tokens/s alone", "beside hops", "audio s/s alone", "beside steps",
              "streams a GPU: together", *(f"apart, {gpus} GPUs" for gpus in GPUS)]  # fmt: skip
    best = max(divided[steps] / shared[steps] - 1 for steps in shared)
    verdict = (
        f"With the best batches of each, GPUs that are divided serve {100 * abs(best):.0f}% "
        f"{'more' if best > 0 else 'fewer'} streams, before tokens "
        f"have gone from one machine to another. It would have to be {100 * WORTH:.0f}% more to be worth two kinds of deployments: "
        f"{'it is' if best > WORTH else 'it is not'}."
    )
    return page(
        result,
        "# Language model and token-to-sound: together or apart",
        f"Steps of a 1:1 hybrid and hops of a second, at CosyVoice 2's size with random weights on {result['device']}, each from a "
        "CUDA stream of its own, alone and at once.",
        markdown_table(header, lines),
        verdict,
        "Streams of a GPU that does both: steps run while they are needed and hops run always. Apart, the GPUs are divided in the "
        "way that serves most.",
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="CUDA where there is one, else the CPU")
    parser.add_argument("--steps", default="2,10", help="of the flow")
    parser.add_argument("--lm-rows", default="32,128", help="streams of a step")
    parser.add_argument("--hop-rows", default="64", help="streams of a hop")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--tiny", action="store_true", help="thin layers, to try it")


if __name__ == "__main__":
    benchmark("colocation", __doc__, measure, render, options, None)
