"""Speech tokens to sound at CosyVoice 2's sizes: seconds of audio a second, offline and streaming, at several batch sizes.

    python benchmarks/token2wav.py [--device cuda] [--seconds 60] [--out docs/results] [--batches 1,8,32] [--tiny]

Weights are random and made on the device; a prompt of 3 s; utterances of about 10 s.

- ``offline``: `mamtra.token2wav.batch_to_samples`, lengths between 8 and 12 s in one batch.
- ``streaming``: `FlowStream` and `VocoderStream` in the hops of `mamtra.streaming`, rows of 10 s in lockstep; the prompt's pass was
  made before, as it is for every sentence but a voice's first.
- ``from scratch``: the same hops as the reference implementation makes them. Each runs the flow over prompt and all tokens so far,
  keeps the new frames, and the vocoder begins 8 frames earlier with the excitation it had there.

On CUDA each is also measured with the Euler steps as CUDA graphs (`mamtra.audio.graphed`). A figure is the median wall time, until
the samples are on the host, of the runs after a first one that does not count. ``bf16`` has the flow in bfloat16 and the vocoder in
float32; ``float32`` is PyTorch's default, where convolutions may use TF32. Rows are written as they come; those that the time did
not suffice for are left out, and the page says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import circumstances, footnotes, table, write_results
from torch import Tensor

from mamtra.audio.flow import Flow, FlowConfig
from mamtra.audio.flow_stream import FlowStream
from mamtra.audio.graphed import GraphedEstimator
from mamtra.audio.hift import HiFT, HiFTConfig
from mamtra.audio.vocoder_stream import VocoderStream
from mamtra.checkpoints.model import Model
from mamtra.device import pick_device
from mamtra.streaming import HopSchedule
from mamtra.token2wav import batch_to_samples, vocoder_noise
from mamtra.voices import Voice, VoiceInfo

RATE, HOP, STEPS = 24000, 480, 10
PROMPT, TOKENS = 75, 250
BEFORE = 8  # mel frames that the reference gives the vocoder again
MOST_RUNS = 5
TINY_FLOW = {
    "input_size": 32, "encoder_heads": 2, "encoder_ffn": 32, "encoder_blocks": 1, "encoder_up_blocks": 1,
    "estimator_channels": 16, "estimator_heads": 2, "estimator_head_dim": 8, "estimator_n_blocks": 1, "estimator_mid_blocks": 1,
}  # fmt: skip
TINY_VOCODER = {"base_channels": 16, "f0_channels": 8}
First = Callable[[], None]
"""Told when the first sound is there."""


def build(device: torch.device, half: bool, tiny: bool, folder: Path) -> Model:
    """A model of random weights, without files for them."""
    torch.manual_seed(0)
    with torch.device(device):
        flow = Flow(FlowConfig(**(TINY_FLOW if tiny else {})))
        vocoder = HiFT(HiFTConfig(**(TINY_VOCODER if tiny else {})))
    vocoder.remove_weight_norm()
    (folder / "config.json").write_text(json.dumps({"format": 1, "sample_rate": RATE}))
    parts = {
        "flow": flow.to(torch.bfloat16 if half else torch.float32).eval().requires_grad_(False),
        "vocoder": vocoder.eval().requires_grad_(False),
    }
    return Model(folder, device, parts=parts)


def make_voice() -> Voice:
    draw = torch.Generator().manual_seed(1)
    return Voice(
        VoiceInfo(name="random"),
        torch.zeros(0, dtype=torch.int64),
        torch.randint(0, 6561, (PROMPT,), generator=draw),
        torch.randn(2 * PROMPT, 80, generator=draw) - 5,
        torch.randn(192, generator=draw),
    )


def make_codes(lengths: list[int]) -> list[list[int]]:
    draw = torch.Generator().manual_seed(2)
    return [torch.randint(0, 6561, (length,), generator=draw).tolist() for length in lengths]


def varied(batch: int, tokens: int) -> list[int]:
    """Lengths from 0.8 to 1.2 times the middle; a single one has it."""
    return [round(tokens * (0.8 + 0.4 * i / (batch - 1))) for i in range(batch)] if batch > 1 else [tokens]


def offline(model: Model, voice: Voice, batch: int, tokens: int) -> tuple[Callable[[First], list[np.ndarray]], float]:
    codes = make_codes(varied(batch, tokens))

    def work(first: First) -> list[np.ndarray]:
        return batch_to_samples(model, [voice] * batch, codes, seeds=list(range(batch)))

    return work, sum(map(len, codes)) / 25


def prompt_of(model: Model, voice: Voice, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    tensors = (voice.prompt_speech, voice.prompt_mel, voice.embedding)
    return tuple(value[None].repeat(batch, *[1] * value.dim()).to(model.device) for value in tensors)


def noise_of(model: Model, batch: int) -> Callable[[int], Tensor]:
    draws = [torch.Generator().manual_seed(seed) for seed in range(batch)]
    return lambda count: torch.cat([vocoder_noise(count, draw) for draw in draws]).to(model.device)


def hops(stream: FlowStream, tokens: int) -> list[int]:
    """How many tokens each hop but the last hands over."""
    schedule, sizes, chunk = HopSchedule(), [], stream._flow.config.chunk_size
    done, held = stream.seen, PROMPT - stream.seen
    while True:
        least = max(0, PROMPT - done) + schedule.least(len(sizes))
        ready = -(-least // chunk) * chunk
        size = ready + stream._flow.config.pre_lookahead_len - held
        if sum(sizes) + size >= tokens:
            return sizes
        sizes.append(size)
        done, held = done + ready, stream._flow.config.pre_lookahead_len


def streaming(model: Model, voice: Voice, batch: int, tokens: int) -> tuple[Callable[[First], list[np.ndarray]], float]:
    begun = FlowStream(model.flow, *prompt_of(model, voice, batch), steps=STEPS)
    begun.push(torch.zeros(batch, 0, dtype=torch.int64, device=model.device))
    sizes = hops(begun, tokens)
    codes = make_codes([tokens] * batch)

    def work(first: First) -> list[np.ndarray]:
        stream, vocoder = begun.fork(), VocoderStream(model.vocoder, noise_of(model, batch))
        waves, begin = [], 0
        for size in (*sizes, tokens):
            final = size == tokens
            token = torch.tensor([row[begin : begin + size] for row in codes], device=model.device)
            waves.append(vocoder.push(stream.push(token, final), final).float().cpu().numpy())
            first()
            begin += size
        return list(np.concatenate(waves, axis=1))

    return work, batch * tokens / 25


def from_scratch(
    model: Model, voice: Voice, batch: int, tokens: int
) -> tuple[Callable[[First], list[np.ndarray]], float]:
    prompt = prompt_of(model, voice, batch)
    probe = FlowStream(model.flow, *prompt, steps=STEPS)
    probe.seen = PROMPT // model.flow.config.chunk_size * model.flow.config.chunk_size  # only to plan the hops
    if PROMPT - probe.seen < model.flow.config.pre_lookahead_len:
        probe.seen -= model.flow.config.chunk_size
    ends = np.cumsum(hops(probe, tokens)).tolist()
    codes = make_codes([tokens] * batch)

    @torch.inference_mode()
    def work(first: First) -> list[np.ndarray]:
        draw, waves, done = noise_of(model, batch), [], 0
        mel_before = source_before = None
        for end in (*ends, tokens):
            final = end == tokens
            token = torch.tensor([row[:end] for row in codes], device=model.device)
            mel = model.flow.inference(token, *prompt, steps=STEPS, streaming=True, finalize=final)[:, :, done:]
            done += mel.shape[2]
            if mel_before is not None:
                mel = torch.cat([mel_before, mel], dim=2)
            made = model.vocoder.synthesize(mel, source_cache=source_before, noise=draw(mel.shape[2] * HOP))
            mel_before, source_before = mel[:, :, -BEFORE:], made.source[:, :, -BEFORE * HOP :]
            wave = made.wave if final else made.wave[:, : -BEFORE * HOP]
            waves.append(wave.float().cpu().numpy())
            first()
        return list(np.concatenate(waves, axis=1))

    return work, batch * tokens / 25


WAYS = {"from scratch": from_scratch, "streaming": streaming, "offline": offline}


def measure(way: str, model: Model, voice: Voice, batch: int, tokens: int, until: float) -> dict[str, Any]:
    """Runs of one way until the time is up, one at least after the first."""
    device = model.device
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    firsts: list[float] = []
    times: list[float] = []
    try:
        work, audio = WAYS[way](model, voice, batch, tokens)
        for run in range(1 + MOST_RUNS):
            if run > 1 and time.perf_counter() + times[-1] > until:
                break
            heard: list[float] = []
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            began = time.perf_counter()
            waves = work(lambda heard=heard: heard.append(time.perf_counter()))
            ended = time.perf_counter()
            if run:
                times.append(ended - began)
                firsts.append((heard[0] if heard else ended) - began)
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
    }


def rows_of(device: torch.device, batches: list[int], precisions: list[str]) -> list[tuple[str, int, str, bool]]:
    """What to measure, the most telling first. Long streams of many rows would keep too much in graphs."""
    graphs = (False, True) if device.type == "cuda" else (False,)
    return [
        (precision, batch, way, graph)
        for precision in precisions
        for graph in graphs
        for batch in batches
        for way in WAYS
        if not (graph and way != "offline" and batch > 8)
    ]


def ratio(rows: list[dict[str, Any]], row: dict[str, Any]) -> float | None:
    """Audio a second over that of the way from scratch, launched alike, else the plain one."""
    same = [
        r["audio_a_second"]
        for graph in (row["graphs"], False)
        for r in rows
        if r["way"] == "from scratch" and "failed" not in r and r["graphs"] == graph
        and (r["batch"], r["precision"]) == (row["batch"], row["precision"])
    ]  # fmt: skip
    return row["audio_a_second"] / same[0] if same and "failed" not in row else None


def render(result: dict[str, Any]) -> str:
    """The page, from the record alone."""
    lines = []
    for row in result["rows"]:
        name = row["way"] + (", graphs" if row["graphs"] else "")
        if "failed" in row:
            lines.append((row["precision"], row["batch"], name, row["failed"], "", "", "", "", ""))
            continue
        times = ratio(result["rows"], row)
        lines.append((
            row["precision"], row["batch"], name, f"{row['audio_a_second']:.1f}", "-" if times is None else f"{times:.2f}",
            f"{row['seconds']:.3f} ({row['fastest']:.3f} to {row['slowest']:.3f})", f"{row['first_sound_ms']:.0f}",
            "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.1f}", row["runs"],
        ))  # fmt: skip
    left = result["planned"] - len(result["rows"])
    return "\n\n".join([
        "# Speech tokens to sound",
        f"Flow and vocoder of {'tiny' if result['tiny'] else 'CosyVoice 2'} size with random weights on {result['device']}, "
        f"{STEPS} Euler steps with guidance; prompt {PROMPT / 25:.0f} s, utterances of about {result['tokens'] / 25:.0f} s. "
        "Audio a second is all rows of the batch together. `from scratch` recomputes the flow over all tokens at each hop, as the "
        "reference implementation does; the ratio is to it, at the same batch, precision and way of launching (plain where there "
        "is no such row)."
        + (f" The time was up before {left} of {result['planned']} rows." if left else ""),
        table(
            ("precision", "batch", "way", "audio s / s", "ratio", "seconds (range)", "first sound, ms", "peak, GiB", "runs"),
            lines,
        ),
        "## How it was measured",
        footnotes(result),
    ]) + "\n"  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all rows; the one begun last is finished")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--precisions", help="bf16,float32; on a CPU float32 alone where left out")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--tiny", action="store_true", help="thin networks, to try the script")
    args = parser.parse_args(argv)
    began = time.perf_counter()
    device = pick_device(args.device)
    known = "bf16,float32" if device.type == "cuda" else "float32"
    plan = rows_of(device, [int(n) for n in args.batches.split(",")], (args.precisions or known).split(","))
    path = args.out / "token2wav.json"
    result: dict[str, Any] = {
        "benchmark": "token2wav",
        **circumstances(sys.argv, torch.get_num_threads()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "tiny": args.tiny, "tokens": args.tokens, "planned": len(plan), "rows": [],
    }  # fmt: skip
    voice, model, made = make_voice(), None, None
    with tempfile.TemporaryDirectory() as folder:
        for i, (precision, batch, way, graph) in enumerate(plan):
            now = time.perf_counter()
            if now - began > args.seconds:
                break
            if made != (precision, graph):
                made, model = (precision, graph), None
                model = build(device, precision == "bf16", args.tiny, Path(folder))
                if graph:
                    model.flow.decoder.estimator = GraphedEstimator(model.flow.decoder.estimator)
            until = now + (began + args.seconds - now) / (len(plan) - i)
            found = measure(way, model, voice, batch, args.tokens, until)
            result["rows"].append({"precision": precision, "batch": batch, "way": way, "graphs": graph, **found})
            print(result["rows"][-1], file=sys.stderr, flush=True)
            write_results(path, result, render(result))
    print(path.with_suffix(".md"))


if __name__ == "__main__":
    main()
