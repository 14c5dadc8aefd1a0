"""Peak GPU memory of the language model at CosyVoice 2's size: engine, transformers, and the original's way of loading."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from mamtra.bench.decode_peers import Transformers
from mamtra.bench.memory_page import draw, render
from mamtra.bench.run import measure
from mamtra.cost.measured_memory import LoadedAsOriginal, decode, open_engine, parameter_bytes, peak_of, random_lm
from mamtra.engine.state_pool import stream_bytes
from mamtra.models.scaled_linear import scale_weights

RATIOS = ("1:0", "1:1", "1:5", "1:11")
MANY, ONE = (64, 8192), (250, 250)
STEPS = 16


def _rows(device: torch.device, tiny: bool, peers: bool, ends: float) -> Iterator[dict[str, Any]]:
    many, one = (MANY, ONE) if not tiny else ((3, 64), (20, 20))
    for ratio in RATIOS:
        for weights in (None, "int8") if ratio == "1:1" else (None,):
            if time.perf_counter() < ends:
                yield from _engine(ratio, weights, many, one, device, tiny)
    if peers:
        for half in (False, True):
            if time.perf_counter() < ends:
                yield _original(half, one, device, tiny)
    if peers and not tiny and device.type == "cuda":
        for static in (False, True):
            if time.perf_counter() < ends:
                yield from _transformers(static, one, device)


def _engine(
    ratio: str, weights: Any, many: tuple[int, int], one: tuple[int, int], device: torch.device, tiny: bool
) -> Iterator[dict[str, Any]]:
    lm = random_lm(ratio, device, tiny)
    lm.text_to_host()
    if weights:
        scale_weights(lm, weights)
    for streams, capacity, inputs, tokens in ((1, sum(one), *one), (*many, min(1024, many[1] // 2), STEPS)):

        def run(streams: int = streams, capacity: int = capacity, inputs: int = inputs, tokens: int = tokens) -> None:
            with open_engine(lm, streams, capacity) as engine:
                decode(engine, lm, streams, inputs, tokens)

        peak = peak_of(run, device)
        yield {
            "system": "engine" + (f", {weights} weights" if weights else ""), "ratio": ratio, "streams": streams,
            "positions": capacity, "weights_bytes": parameter_bytes(lm, device=device),
            "state_bytes": streams * stream_bytes(lm.config, capacity, lm.head_weight.dtype), "peak_bytes": peak,
        }  # fmt: skip


def _original(half: bool, one: tuple[int, int], device: torch.device, tiny: bool) -> dict[str, Any]:
    lm = LoadedAsOriginal(random_lm("1:0", device, tiny, torch.float32), half)
    peak = peak_of(lambda: lm(*one, STEPS), device)
    weights = parameter_bytes(lm, device=device)
    name = "loaded as the original, " + ("fp16=True" if half else "float32")
    state = stream_bytes(lm.lm.config, sum(one), torch.float16 if half else torch.float32)
    return {
        "system": name, "ratio": "1:0", "streams": 1, "positions": sum(one), "weights_bytes": weights, "state_bytes": state,
        "peak_bytes": peak,
    }  # fmt: skip


def _transformers(static: bool, one: tuple[int, int], device: torch.device) -> Iterator[dict[str, Any]]:
    try:
        peer = Transformers(device)
    except ImportError:
        return
    peak = peak_of(lambda: peer.times(1, sum(one), STEPS, static=static, compiled=False), device)
    yield {
        "system": peer.name(static=static, compiled=False), "ratio": "1:0", "streams": 1, "positions": sum(one),
        "weights_bytes": parameter_bytes(peer.model, device=device), "state_bytes": peer.cache_bytes(sum(one)),
        "peak_bytes": peak,
    }  # fmt: skip


bench_memory = partial(measure, name="bench_memory", rows=_rows, render=render, draw=draw)
