"""The vocoder as two graphs, in float32: the fundamental frequency of mel frames, and mel and excitation to samples.

    pitch     inputs    mel      (1, mel, T)
              outputs   f0       (1, T)              Hz
    wave      inputs    mel      (1, mel, T)
                        source   (1, hop * T)        excitation, see `mamtra.light.sine_source`
                        drop.N   (2,) int64          with pieces: frames at the start and the end that stage N (from 1) and
                                                     those after it are not computed for
              outputs   wave     (1, hop * T)        of the frames that are left

The convolutions are of height 1 over images, (1, channels, 1, T): ONNX Runtime has its blocked kernels for these alone. Where
channels do not fill its blocks, the many convolutions of a stage are over (1, channels, T): then they are products over windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mamtra.light.graph import GraphBuilder
from mamtra.light.protobuf import INT64

_LOG_LARGEST_MAGNITUDE = math.log(100.0)
_BLOCK = 16
"""Channels of a block in ONNX Runtime's kernels."""


def build_pitch(graph: GraphBuilder, config: Mapping[str, Any]) -> None:
    """Write the graph of the F0 predictor from an empty one over the weights of the vocoder."""
    x = _tall(graph, graph.input("mel", (1, config["in_channels"], "T")))
    for layer in range(0, 10, 2):
        x = graph.op("Elu", _conv(graph, x, f"f0_predictor.condnet.{layer}", padding=1))
    x = graph.op("Transpose", _flat(graph, x), perm=[0, 2, 1])
    x = graph.linear(x, "f0_predictor.classifier.weight", graph.weight("f0_predictor.classifier.bias"))
    graph.output("f0", graph.op("Abs", graph.op("Squeeze", x, graph.constant([-1]))), (1, "T"))


def build_wave(graph: GraphBuilder, config: Mapping[str, Any], *, pieces: bool = False) -> None:
    """Write the graph of the decoder from an empty one over the weights of the vocoder.

    Args:
        graph: to write to.
        config: section of config.json.
        pieces: it is for pieces of an utterance; the later a stage, the fewer frames around a piece it needs.
    """
    mel = graph.input("mel", (1, config["in_channels"], "T"))
    source = graph.input("source", (1, "S"))
    rates, kernels = config["upsample_rates"], len(config["resblock_kernel_sizes"])
    spectrum = _stft(graph, source, config["istft_n_fft"], config["istft_hop"])
    x = _conv(graph, _tall(graph, mel), "conv_pre", padding=3)
    for stage, (rate, kernel) in enumerate(zip(rates, config["upsample_kernel_sizes"], strict=True)):
        if pieces and stage:
            drop = graph.input(f"drop.{stage}", (2,), INT64)
            x = _without(graph, x, drop, math.prod(rates[:stage]))
            spectrum = _without(graph, spectrum, drop, math.prod(rates))
        x = graph.op("LeakyRelu", x, alpha=float(config["lrelu_slope"]))
        x = _up(graph, x, f"ups.{stage}", rate, (kernel - rate) // 2)
        if stage + 1 == len(rates):  # a centred STFT has one more frame than hops
            x = graph.op("Pad", x, graph.constant([0, 0, 0, 1, 0, 0, 0, 0]), mode="reflect")
        down = math.prod(rates[stage + 1 :])
        of_source = _conv(graph, spectrum, f"source_downs.{stage}", padding=0 if down == 1 else down // 2, stride=down)
        dilations = config["source_resblock_dilation_sizes"][stage]
        x = graph.op("Add", x, _resblock(graph, of_source, f"source_resblocks.{stage}", dilations))
        blocks = [
            _resblock(graph, x, f"resblocks.{stage * kernels + i}", config["resblock_dilation_sizes"][i])
            for i in range(kernels)
        ]
        x = graph.op("Mul", graph.op("Sum", *blocks), graph.constant(1.0 / kernels))
    x = _conv(graph, graph.op("LeakyRelu", x, alpha=0.01), "conv_post", padding=3)
    magnitude, phase = graph.ops(2, "Split", x, axis=1, num_outputs=2)
    magnitude = graph.op("Exp", graph.op("Min", magnitude, graph.constant(_LOG_LARGEST_MAGNITUDE)))
    phase = graph.op("Sin", phase)
    real, imaginary = (graph.op("Mul", magnitude, graph.op(part, phase)) for part in ("Cos", "Sin"))
    wave = _istft(graph, graph.op("Concat", real, imaginary, axis=1), config["istft_n_fft"], config["istft_hop"])
    limit = graph.constant(float(config["audio_limit"])), graph.constant(-float(config["audio_limit"]))
    graph.output("wave", graph.op("Max", graph.op("Min", wave, limit[0]), limit[1]), (1, "S"))


def _tall(graph: GraphBuilder, x: str) -> str:
    return graph.op("Unsqueeze", x, graph.constant([2]))


def _flat(graph: GraphBuilder, x: str) -> str:
    return graph.op("Squeeze", x, graph.constant([2]))


def _without(graph: GraphBuilder, x: str, drop: str, scale: int) -> str:
    """(1, C, 1, N) without its first and last positions, so many frames of so many positions."""
    first, last = graph.ops(2, "Split", graph.op("Mul", drop, graph.constant([scale])), axis=0, num_outputs=2)
    end = graph.op("Sub", graph.op("Shape", x, start=3, end=4), last)
    return graph.op("Slice", x, first, end, graph.constant([3]))


def _kernel(graph: GraphBuilder, name: str) -> tuple[str, str]:
    """Weight (a, b, 1, taps) and bias of a convolution."""
    return _tall(graph, graph.weight(f"{name}.weight")), graph.weight(f"{name}.bias")


def _conv(graph: GraphBuilder, x: str, name: str, *, padding: int, dilation: int = 1, stride: int = 1) -> str:
    sizes = {"pads": [0, padding, 0, padding], "dilations": [1, dilation], "strides": [1, stride]}
    taps = graph.weights[f"{name}.weight"].shape[2]
    return graph.op("Conv", x, *_kernel(graph, name), kernel_shape=[1, taps], **sizes)


def _up(graph: GraphBuilder, x: str, name: str, rate: int, padding: int) -> str:
    taps = graph.weights[f"{name}.weight"].shape[2]
    pads = [0, padding, 0, padding]
    return graph.op("ConvTranspose", x, *_kernel(graph, name), kernel_shape=[1, taps], strides=[1, rate], pads=pads)


def _snake(graph: GraphBuilder, x: str, name: str, axes: int) -> str:
    alpha = graph.reshape(graph.weight(f"{name}.alpha"), (-1, *[1] * axes))
    scale = graph.op("Reciprocal", graph.op("Add", alpha, graph.constant(1e-9)))
    sine = graph.op("Sin", graph.op("Mul", x, alpha))
    return graph.op("Add", x, graph.op("Mul", graph.op("Mul", sine, sine), scale))


def _resblock(graph: GraphBuilder, x: str, name: str, dilations: list[int]) -> str:
    channels, _, taps = graph.weights[f"{name}.convs1.0.weight"].shape
    flat = channels % _BLOCK != 0

    def conv(x: str, number: int, i: int, dilation: int) -> str:
        x, padding = _snake(graph, x, f"{name}.activations{number}.{i}", 1 if flat else 2), (taps - 1) * dilation // 2
        weights = f"{name}.convs{number}.{i}"
        if not flat:
            return _conv(graph, x, weights, padding=padding, dilation=dilation)
        given = (graph.weight(f"{weights}.weight"), graph.weight(f"{weights}.bias"))
        return graph.op("Conv", x, *given, kernel_shape=[taps], pads=[padding, padding], dilations=[dilation])

    x = _flat(graph, x) if flat else x
    for i, dilation in enumerate(dilations):
        x = graph.op("Add", x, conv(conv(x, 1, i, dilation), 2, i, 1))
    return _tall(graph, x) if flat else x


def _bases(n_fft: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Analysis and synthesis (2 bins, 1, 1, n_fft), and squared window (1, 1, 1, n_fft), see `mamtra.acoustic.stft`."""
    bins = n_fft // 2 + 1
    sample = np.arange(n_fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * sample / n_fft)
    angle = 2 * np.pi / n_fft * np.outer(np.arange(bins), sample)
    weight = np.full((bins, 1), 2.0 / n_fft)
    weight[0] = weight[-1] = 1.0 / n_fft
    sine = -np.sin(angle)
    analysis = np.concatenate([np.cos(angle), sine]) * window
    sine[0] = sine[-1] = 0
    synthesis = np.concatenate([np.cos(angle) * weight, sine * weight]) * window
    tables = (analysis, synthesis, np.square(window)[None])
    return tuple(table.astype(np.float32).reshape(-1, 1, 1, n_fft) for table in tables)


def _stft(graph: GraphBuilder, wave: str, n_fft: int, hop: int) -> str:
    """(1, S) to (1, 2 bins, 1, S / hop + 1), centred, with reflected edges."""
    edge = n_fft // 2
    wave = graph.op("Pad", wave, graph.constant([0, edge, 0, edge]), mode="reflect")
    wave = graph.reshape(wave, (1, 1, 1, -1))
    return graph.op("Conv", wave, graph.constant(_bases(n_fft)[0]), kernel_shape=[1, n_fft], strides=[1, hop])


def _istft(graph: GraphBuilder, spectrum: str, n_fft: int, hop: int) -> str:
    """(1, 2 bins, 1, F) to (1, hop * (F - 1))."""
    _, synthesis, window = (graph.constant(table) for table in _bases(n_fft))
    edge = n_fft // 2
    sizes = {"kernel_shape": [1, n_fft], "strides": [1, hop], "pads": [0, edge, 0, edge]}
    shape = graph.op("Concat", graph.constant([1, 1, 1]), graph.op("Shape", spectrum, start=3, end=4), axis=0)
    ones = graph.op("Expand", graph.constant(1.0), shape)
    envelope = graph.op("ConvTranspose", ones, window, **sizes)
    wave = graph.op("Div", graph.op("ConvTranspose", spectrum, synthesis, **sizes), envelope)
    return graph.reshape(wave, (1, -1))
