"""Time of decode steps at CosyVoice 2 size, beside named peers in the same run on the same weights.

Weights, keys and values are random; lengths are those of the middle of the measurement. Every figure is a median over repetitions,
each of which is several replays of a captured step between two events; the first replays are not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mamtra.bench.decode_page import draw, render
from mamtra.bench.decode_profile import kernel_times
from mamtra.bench.plain_step import GraphedSteps
from mamtra.bench.run import measure
from mamtra.cost.measured_memory import free, random_lm
from mamtra.engine.decode_step import DecodeStep
from mamtra.engine.decode_weights import DecodeWeights
from mamtra.engine.request import Sampling, Segment
from mamtra.engine.slot_table import SlotTable
from mamtra.engine.state_pool import StatePool, stream_bytes
from mamtra.engine.step_runner import StepRunner
from mamtra.models.scaled_linear import scale_weights
from mamtra.models.speech_lm import SpeechLM
from mamtra.models.state import AttentionState
from mamtra.ops.decode_types import ScaledWeight, WeightType
from mamtra.runtime.cuda_graphs import CudaGraphs

RATIOS = ("1:0", "1:1", "1:5", "1:11")
SHAPES = ((1, 2048), (1, 8192), (32, 2048), (32, 8192), (128, 2048))
VARIANTS: dict[str, WeightType | None] = {"int8 weights": "int8", "fp8 weights": "fp8", "bfloat16 states": None}
"""Of the 1:1 hybrid, at the first and third shape."""
WARM, REPEATS, REPLAYS = 3, 9, 4
FOREVER = 2**30


def bench_decode(out: Path, *, device: torch.device, **options: Any) -> Path:
    """Measure, writing after every row, see `mamtra.bench.run.measure`; without a GPU steps are run as they are."""
    known: dict[str, Any] = {"bandwidth": bandwidth(device), "steps": [], "profiles": [], "skipped": 0}
    return measure(out, "decode", partial(_rows, known), render, draw, device=device, known=known, **options)


def bandwidth(device: torch.device) -> float:
    """Bytes a second: the faster of reading one large tensor and copying it, measured here."""
    if device.type != "cuda":
        return 1e10
    source = torch.empty(2**29, device=device)
    target = torch.empty_like(source)
    size = source.numel() * 4
    reading, copying = timed(source.sum, device), timed(lambda: target.copy_(source), device)
    return 1e3 * max(size / statistics.median(reading), 2 * size / statistics.median(copying))


def timed(run: Callable[[], Any], device: torch.device, graphs: CudaGraphs | None = None) -> list[float]:
    """Milliseconds of one call, a value for each repetition; on a GPU replayed from a CUDA graph, made by `graphs`."""
    graphs = graphs or CudaGraphs(device)
    if not graphs.available:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - began))
        return times[1:]
    graphs.warm_up(run, runs=1)
    replay, _ = graphs.capture(run)
    return replayed(replay)


def replayed(replay: Callable[[], Any], replays: int = REPLAYS) -> list[float]:
    """Milliseconds of one call of what only launches work."""
    for _ in range(WARM):
        replay()
    times = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(replays):
            replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / replays)
    return times


def step_bytes(lm: SpeechLM, rows: int, length: int, states: torch.dtype = torch.float32) -> int:
    """Bytes that a step must move: weights and cached keys and values are read once, Mamba states are read and written."""
    config, weights = lm.config, DecodeWeights.of(lm)
    matrices = [m for layer in weights.layers for m in (layer.project, layer.out, layer.gate_up, layer.down)]
    parts = [part for m in matrices for part in (m if isinstance(m, ScaledWeight) else (m,))]
    parts += [norm for layer in weights.layers for norm in (layer.norm, layer.mlp_norm)]
    read = sum(t.numel() * t.element_size() for t in parts)
    read += weights.head.numel() * weights.head.element_size()
    none, one = (stream_bytes(config, n, weights.head.dtype, states) for n in (0, 1))
    return read + rows * (length * (one - none) + 2 * none)


def _rows(
    known: dict[str, Any], device: torch.device, tiny: bool, peers: bool, ends: float
) -> Iterator[dict[str, Any]]:
    for row in _measured(known, device, tiny, peers, ends):
        known["profiles" if "kernels" in row else "steps"].append(row)
        yield row


def _measured(
    known: dict[str, Any], device: torch.device, tiny: bool, peers: bool, ends: float
) -> Iterator[dict[str, Any]]:
    shapes = SHAPES if not tiny else ((1, 64), (3, 64))
    for ratio in RATIOS:
        lm = random_lm(ratio, device, tiny)
        for rows, length in shapes:
            about = {"ratio": ratio, "rows": rows, "length": length}
            if time.perf_counter() > ends:
                known["skipped"] += 1
                continue
            size = step_bytes(lm, rows, length)
            yield about | {"system": "engine", "bytes": size, **_spread(engine_step(lm, rows, length, device))}
            if ratio == "1:1":
                yield about | {"kernels": _profile(lm, rows, length, device)}
            if peers and device.type == "cuda":
                yield about | {"system": "captured plain step", "bytes": size, **_spread(plain_step(lm, rows, length))}
        del lm
        free(device)
    for name, weights in VARIANTS.items():
        if time.perf_counter() < ends:
            yield from _variant(name, weights, shapes[:3:2], device, tiny)
    if peers and device.type == "cuda" and not tiny:
        from mamtra.bench.decode_peers import transformers_rows

        yield from transformers_rows(ends)


@torch.inference_mode()
def _variant(
    name: str, weights: WeightType | None, shapes: Sequence[tuple[int, int]], device: torch.device, tiny: bool
) -> Iterator[dict[str, Any]]:
    """Steps of the 1:1 hybrid with less to read, and how far its logits are from those of all bits."""
    lm = random_lm("1:1", device, tiny)
    inputs = lm.speech_embedding(torch.randint(0, lm.config.num_speech_tokens, (4, 64), device=device))
    exact = lm.logits(lm(inputs)).float()
    states = torch.float32 if weights else torch.bfloat16
    if weights:
        scale_weights(lm, weights)
    error = float((lm.logits(lm(inputs)).float() - exact).norm() / exact.norm()) if weights else None
    for rows, length in shapes:
        about = {"system": name, "ratio": "1:1", "rows": rows, "length": length, "logit_error": error}
        size = step_bytes(lm, rows, length, states)
        yield about | {"bytes": size, **_spread(engine_step(lm, rows, length, device, states))}
    del lm
    free(device)


def engine_at(
    lm: SpeechLM, rows: int, length: int, capacity: int, device: torch.device, states: torch.dtype = torch.float32
) -> DecodeStep:
    """A decode step whose slots are all in use."""
    dtype = lm.head_weight.dtype
    pool = StatePool(lm.config, rows, capacity, device, dtype, states)
    pool.kv.normal_()
    table = SlotTable(lm.config, rows, device, dtype, ())
    slots = torch.arange(rows, device=device)
    table.start(slots, [(slot, Sampling()) for slot in range(rows)])
    table.begin(slots, [(Segment([], least=FOREVER), FOREVER)] * rows, table.inputs[:rows].clone())
    pool.lengths[:rows] = max(0, length - WARM - REPEATS * REPLAYS // 2)
    return DecodeStep(DecodeWeights.of(lm), pool, table, StepRunner.widest(rows))


@torch.inference_mode()
def engine_step(
    lm: SpeechLM, rows: int, length: int, device: torch.device, states: torch.dtype = torch.float32
) -> list[float]:
    """Milliseconds of the engine's step with the sampler in it."""
    step = engine_at(lm, rows, length, length + 128, device, states)
    slots = torch.arange(rows, dtype=torch.int32, device=device)
    times = timed(lambda: step(slots), device)
    free(device)
    return times


def _profile(lm: SpeechLM, rows: int, length: int, device: torch.device) -> dict[str, Any]:
    step = engine_at(lm, rows, length, length + 128, device)
    times = kernel_times(step, rows, length, lambda run: timed(run, device))
    del step
    free(device)
    return times


@torch.inference_mode()
def plain_step(lm: SpeechLM, rows: int, length: int) -> list[float]:
    """Milliseconds of the plain model's step as a CUDA graph, without a sampler."""
    state = lm.init_state(rows, length + 64)
    for layer in state.layers:
        if isinstance(layer, AttentionState):
            layer.kv.normal_()
    state.length = length
    state.positions = torch.full((rows,), length - 20, device=lm.head_weight.device)
    steps = GraphedSteps(lm, state)
    x = lm.head_weight.new_zeros(rows, lm.config.hidden_size)
    times = replayed(partial(steps, x), 1)
    del steps, state
    free(lm.head_weight.device)
    return times


def _spread(times: list[float]) -> dict[str, Any]:
    return {"ms": statistics.median(times), "least_ms": min(times), "most_ms": max(times), "repetitions": len(times)}
