"""The vocoder `mamtra.acoustic.source_filter` as a graph, in float32; the one of its pitch is that of `mamtra.light.vocoder_graph`.

    wave      inputs    mel      (1, mel, T)
                        source   (1, 2, hop * T)     pulses and noise, see `mamtra.light.pulse_source`
              outputs   wave     (1, hop * T)

Rows are positions in time. The Fourier transforms are products with sines and cosines over the sums and the differences of the two
halves of a frame, which are half as many as over a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mamtra.acoustic.receptive_field import OVER
from mamtra.light.graph import CONTRIB, GraphBuilder
from mamtra.light.protobuf import FLOAT

_LARGEST_LOG = 4.0


def build_filter(graph: GraphBuilder, config: Mapping[str, Any]) -> None:
    """Write the graph of the decoder from an empty one over the weights of the vocoder."""
    n_fft, low = config["n_fft"], config["source_bins"]
    bins, step = n_fft // 2 + 1, config["hop"] // config["rate"]
    mel = graph.input("mel", (1, config["in_channels"], "T"))
    source = graph.input("source", (1, 2, "S"))
    real, imaginary = _analysis(graph, source, n_fft, step)  # (2, F, bins) each
    (pulse_real, noise_real), (pulse_imaginary, noise_imaginary) = (
        graph.ops(2, "Split", each, axis=0, num_outputs=2) for each in (real, imaginary)
    )
    sizes = {"kernel_shape": [config["rate"] + 1 + 2 * OVER], "strides": [config["rate"]], "pads": [OVER, OVER]}
    x = graph.op("ConvTranspose", mel, graph.weight("first.weight"), graph.weight("first.bias"), **sizes)
    turn = (1 - 2 * (np.arange(bins) % 2)).astype(np.float32)
    scale = graph.constant(turn[:low] * np.float32(4 / n_fft))
    heard = [graph.op("Mul", _cut(graph, each, 0, low, 2), scale) for each in (pulse_real, pulse_imaginary)]
    given = graph.linear(graph.op("Concat", *heard, axis=2), "pulses.weight", graph.weight("pulses.bias"))
    x = _norm(graph, graph.op("Add", graph.op("Transpose", x, perm=[0, 2, 1]), given), "first_norm")
    for number in range(config["blocks"]):
        x = graph.op("Add", x, _block(graph, x, f"blocks.{number}", config))
    x = graph.linear(_norm(graph, x, "last_norm"), "last.weight", graph.weight("last.bias"))
    logs, phases = graph.ops(2, "Split", x, graph.constant([3 * bins, 2 * bins]), axis=2)
    gains = graph.op("Exp", graph.op("Min", logs, graph.constant(_LARGEST_LOG)))
    voiced, breath, free = graph.ops(3, "Split", gains, axis=2, num_outputs=3)
    free = graph.op("Mul", free, graph.constant(turn * np.float32(n_fft / 4)))
    cosines, sines = (graph.ops(2, "Split", graph.op(wave, phases), axis=2, num_outputs=2) for wave in ("Cos", "Sin"))

    def product(a: str, b: str) -> str:
        return graph.op("Mul", a, b)

    cosine, sine = product(voiced, cosines[0]), product(voiced, sines[0])
    turned = graph.op("Sub", product(cosine, pulse_real), product(sine, pulse_imaginary))
    real = graph.op("Sum", turned, product(breath, noise_real), product(free, cosines[1]))
    turned = graph.op("Add", product(sine, pulse_real), product(cosine, pulse_imaginary))
    imaginary = graph.op("Sum", turned, product(breath, noise_imaginary), product(free, sines[1]))
    wave = _synthesis(graph, real, imaginary, n_fft, step)
    limit = graph.constant(float(config["audio_limit"])), graph.constant(-float(config["audio_limit"]))
    graph.output("wave", graph.op("Max", graph.op("Min", wave, limit[0]), limit[1]), (1, "S"))


def _norm(graph: GraphBuilder, x: str, name: str) -> str:
    scale, shift = (graph.weight(f"{name}.{what}") for what in ("weight", "bias"))
    return graph.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-6)


def _block(graph: GraphBuilder, x: str, name: str, config: Mapping[str, Any]) -> str:
    taps = config["kernel"]
    sizes = {"kernel_shape": [taps], "pads": [taps // 2] * 2, "group": config["width"]}
    y = graph.op("Transpose", x, perm=[0, 2, 1])
    y = graph.op("Conv", y, graph.weight(f"{name}.mix.weight"), graph.weight(f"{name}.mix.bias"), **sizes)
    y = _norm(graph, graph.op("Transpose", y, perm=[0, 2, 1]), f"{name}.norm")
    y = graph.op("Gelu", graph.linear(y, f"{name}.up.weight", graph.weight(f"{name}.up.bias")), domain=CONTRIB)
    y = graph.linear(y, f"{name}.down.weight", graph.weight(f"{name}.down.bias"))
    return graph.op("Mul", y, graph.weight(f"{name}.scale"))


def _tables(graph: GraphBuilder, n_fft: int) -> tuple[str, str]:
    """Cosines of a sample and a bin, (bins, bins), and sines without the first and the last, which are 0.

    They are nodes: ONNX Runtime computes them when it opens the graph, which stays small.
    """
    half = n_fft // 2
    places = np.arange(half + 1)
    turns = graph.op("Mul", graph.constant(places[:, None]), graph.constant(places[None]))
    turns = graph.op("Cast", graph.op("Mod", turns, graph.constant([n_fft])), to=FLOAT)
    angle = graph.op("Mul", turns, graph.constant(2 * np.pi / n_fft))
    sines = _cut(graph, _cut(graph, graph.op("Sin", angle), 1, half, 0), 1, half, 1)
    return graph.op("Cos", angle), sines


def _window(n_fft: int) -> np.ndarray:
    """Periodic Hann window (n_fft,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def _cut(graph: GraphBuilder, x: str, first: int, last: int, axis: int, step: int = 1) -> str:
    return graph.op("Slice", x, *(graph.constant([at]) for at in (first, last, axis, step)))


def _analysis(graph: GraphBuilder, waves: str, n_fft: int, step: int) -> tuple[str, str]:
    """Real and imaginary parts (C, F, bins) of waves (1, C, S): centred frames, with reflected edges."""
    half, parts = n_fft // 2, n_fft // step
    waves = graph.op("Pad", waves, graph.constant([0, 0, half, 0, 0, half]), mode="reflect")
    pieces = graph.reshape(waves, (2, -1, step))
    count = graph.op("Shape", pieces, start=1, end=2)
    frames = []
    for part in range(parts):
        end = graph.op("Sub", count, graph.constant([parts - 1 - part]))
        frames.append(graph.op("Slice", pieces, graph.constant([part]), end, graph.constant([1])))
    frame = graph.op("Concat", *frames, axis=2)
    # The first sample has no counterpart; its window is 0.
    early, late = _cut(graph, frame, 1, half, 2), _cut(graph, frame, n_fft - 1, half, 2, -1)
    middle = _cut(graph, frame, half, half + 1, 2)
    even = graph.op("Concat", graph.op("Add", early, late), middle, axis=2)
    cosines, sines = _tables(graph, n_fft)
    window = _window(n_fft)[1 : half + 1, None].astype(np.float32)
    later = _cut(graph, cosines, 1, half + 1, 0)
    real = graph.op("MatMul", even, graph.op("Mul", later, graph.constant(window)))
    odd = graph.op("Sub", late, early)
    imaginary = graph.op("MatMul", odd, graph.op("Mul", sines, graph.constant(window[:-1])))
    return real, graph.op("Pad", imaginary, graph.constant([0, 0, 1, 0, 0, 1]))


def _synthesis(graph: GraphBuilder, real: str, imaginary: str, n_fft: int, step: int) -> str:
    """Wave (1, step * (F - 1)) of a spectrum (1, F, bins)."""
    half, parts = n_fft // 2, n_fft // step
    cosines, sines = _tables(graph, n_fft)
    weight = np.full((half + 1, 1), 2 / n_fft, np.float32)
    weight[0] = weight[-1] = 1 / n_fft
    window = _window(n_fft)[1 : half + 1].astype(np.float32)
    table = graph.op("Mul", _cut(graph, cosines, 1, half + 1, 1), graph.constant(weight))
    even = graph.op("MatMul", real, graph.op("Mul", table, graph.constant(window)))
    inner, scale = _cut(graph, imaginary, 1, half, 2), np.float32(-2 / n_fft) * window[:-1]
    odd = graph.op("MatMul", inner, graph.op("Mul", sines, graph.constant(scale)))
    both, middle = _cut(graph, even, 0, half - 1, 2), _cut(graph, even, half - 1, half, 2)
    early = graph.op("Add", both, odd)
    late = _cut(graph, graph.op("Sub", both, odd), -1, -half, 2, -1)
    none = graph.op("Mul", middle, graph.constant(0.0))
    frames = graph.op("Concat", none, early, middle, late, axis=2)
    wave = _overlapped(graph, frames, parts, step)
    squares = graph.constant(np.square(_window(n_fft)).astype(np.float32).reshape(1, 1, -1))
    count = graph.op("Shape", real, start=1, end=2)
    shape = graph.op("Concat", graph.constant([1]), count, graph.constant([n_fft]), axis=0)
    envelope = _overlapped(graph, graph.op("Expand", squares, shape), parts, step)
    inside = (graph.constant([half]), graph.constant([-half]), graph.constant([1]))
    wave, envelope = (graph.op("Slice", each, *inside) for each in (wave, envelope))
    return graph.op("Div", wave, envelope)


def _overlapped(graph: GraphBuilder, frames: str, parts: int, step: int) -> str:
    """(1, F, parts * step) added up as (1, (F + parts - 1) * step)."""
    pieces = graph.ops(parts, "Split", frames, axis=2, num_outputs=parts)
    moved = [
        graph.op("Pad", piece, graph.constant([0, part, 0, 0, parts - 1 - part, 0]))
        for part, piece in enumerate(pieces)
    ]
    return graph.reshape(graph.op("Sum", *moved), (1, -1))
