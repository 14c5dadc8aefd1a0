"""The parts that listen to a recording as graphs: the speech tokenizer and the speaker encoder.

tokenizer   inputs    mel      (1, mels, 4 N)        Whisper's log-mel of at most WINDOW tokens
            outputs   tokens   (1, N) int64
speaker     inputs    fbank    (B, F, bands)         Kaldi's filter banks minus their means over frames
            outputs   embedding (B, E)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mamtra.encoders.framing import SEGMENT, position_rates
from mamtra.light.graph import GraphBuilder
from mamtra.light.layers import affine, attention, layer_norm
from mamtra.light.protobuf import FLOAT, INT64


def build_tokenizer(graph: GraphBuilder, config: Mapping[str, Any]) -> None:
    """Write the graph of the speech tokenizer from an empty one over its weights."""
    x = _tall(graph, graph.input("mel", (1, config["num_mels"], "T")))
    x = graph.op("Gelu", _conv(graph, x, "conv1", pads=[0, 1, 0, 1]))
    x = graph.op("Gelu", _conv(graph, x, "conv2", strides=[1, 2], pads=[0, 1, 0, 1]))
    x = _flat(graph, x)
    place = _places(graph, x)
    x, unseen = graph.op("Add", x, _positions(graph, place, config["width"])), _far(graph, place, config["reach"])
    for layer in range(config["layers"]):
        x = _layer(graph, x, f"layers.{layer}", config["heads"], config["width"], unseen)
    x = graph.op("Transpose", layer_norm(graph, x, "layer_norm"), perm=[0, 2, 1])
    x = _conv(graph, _tall(graph, x), "pair", strides=[1, 2])
    for block in range(config["coarse_blocks"]):
        x = _convnext(graph, x, f"coarse.{block}", config)
    x = _flat(graph, x)
    x = graph.op("Tanh", affine(graph, layer_norm(graph, x, "norm"), "digits"))
    levels, half = config["levels"], (config["levels"] - 1) / 2
    digits = graph.op("Round", graph.op("Mul", x, graph.constant(half)))
    digits = graph.op("Cast", digits, to=INT64)
    digits = graph.op("Add", digits, graph.constant((config["levels"] - 1) // 2))
    powers = graph.constant(levels ** np.arange(config["dims"], dtype=np.int64))
    tokens = graph.op("ReduceSum", graph.op("Mul", digits, powers), graph.constant([-1]), keepdims=0)
    graph.output("tokens", tokens, (1, "N"), INT64)


def _places(graph: GraphBuilder, x: str) -> str:
    """The numbers of the frames of (1, T, C), (T,) float."""
    count = graph.op("Cast", graph.op("Squeeze", graph.op("Shape", x, start=1, end=2)), to=FLOAT)
    return graph.op("Range", graph.constant(0.0), count, graph.constant(1.0))


def _positions(graph: GraphBuilder, place: str, width: int) -> str:
    """`mamtra.encoders.speech_tokenizer.positions`."""
    rates = graph.constant(position_rates(width))
    angles = graph.op("Mul", graph.op("Unsqueeze", place, graph.constant([1])), rates)
    return graph.op("Concat", graph.op("Sin", angles), graph.op("Cos", angles), axis=1)


def _far(graph: GraphBuilder, place: str, reach: int) -> str:
    """What is added to the scores of attention (T, T): minus infinity beyond `reach`."""
    apart = graph.op("Abs", graph.op("Sub", place, graph.op("Unsqueeze", place, graph.constant([1]))))
    far = graph.op("Greater", apart, graph.constant(float(reach)))
    return graph.op("Where", far, graph.constant(-np.inf), graph.constant(0.0))


def _layer(graph: GraphBuilder, x: str, name: str, heads: int, width: int, unseen: str) -> str:
    """`mamtra.encoders.speech_tokenizer.EncoderLayer` over (1, T, C)."""
    y = layer_norm(graph, x, f"{name}.self_attn_layer_norm")
    q, v = (affine(graph, y, f"{name}.self_attn.{which}_proj") for which in "qv")
    k = graph.linear(y, f"{name}.self_attn.k_proj.weight")
    y = affine(graph, attention(graph, q, k, v, heads, width // heads, bias=unseen)[0], f"{name}.self_attn.out_proj")
    x = graph.op("Add", x, y)
    y = graph.op("Gelu", affine(graph, layer_norm(graph, x, f"{name}.final_layer_norm"), f"{name}.fc1"))
    return graph.op("Add", x, affine(graph, y, f"{name}.fc2"))


def _convnext(graph: GraphBuilder, x: str, name: str, config: Mapping[str, Any]) -> str:
    """A block over (1, C, 1, T)."""
    edge = config["kernel"] // 2
    y = _flat(graph, _conv(graph, x, f"{name}.depthwise", pads=[0, edge, 0, edge], group=config["narrow"]))
    y = graph.op("Gelu", affine(graph, layer_norm(graph, y, f"{name}.norm"), f"{name}.up"))
    y = graph.op("Mul", affine(graph, y, f"{name}.down"), graph.weight(f"{name}.scale"))
    return graph.op("Add", x, _tall(graph, graph.op("Transpose", y, perm=[0, 2, 1])))


def build_speaker(graph: GraphBuilder, config: Mapping[str, Any]) -> None:
    """Write the graph of the speaker encoder from an empty one over its weights."""
    x = graph.input("fbank", ("B", "F", config["feat_dim"]))
    x = graph.op("Unsqueeze", graph.op("Transpose", x, perm=[0, 2, 1]), graph.constant([1]))
    x = _head(graph, x, config)
    bands = config["feat_dim"] >> (len(config["head_blocks"]) + 1)
    x = graph.reshape(x, (0, config["head_channels"] * bands, 1, -1))
    x = _conv(graph, x, "xvector.tdnn.linear", strides=[1, 2], pads=[0, 2, 0, 2])
    x = _norm_relu(graph, x, "xvector.tdnn.nonlinear.batchnorm")
    kinds = zip(config["block_layers"], config["block_kernels"], config["block_dilations"], strict=True)
    for block, (layers, kernel, dilation) in enumerate(kinds, start=1):
        for layer in range(1, layers + 1):
            made = _dense(graph, x, f"xvector.block{block}.tdnnd{layer}", kernel, dilation)
            x = graph.op("Concat", x, made, axis=1)
        x = _norm_relu(graph, x, f"xvector.transit{block}.nonlinear.batchnorm")
        x = _conv(graph, x, f"xvector.transit{block}.linear")
    x = _norm_relu(graph, x, "xvector.out_nonlinear.batchnorm")
    x = _statistics(graph, graph.op("Squeeze", x, graph.constant([2])))
    x = _conv(graph, graph.op("Unsqueeze", x, graph.constant([2, 3])), "xvector.dense.linear")
    x = _batch_norm(graph, x, "xvector.dense.nonlinear.batchnorm", affine=False)
    graph.output("embedding", graph.op("Squeeze", x, graph.constant([2, 3])), ("B", config["embedding_size"]))


def _head(graph: GraphBuilder, x: str, config: Mapping[str, Any]) -> str:
    """`mamtra.encoders.campplus.ConvolutionHead`, (B, 1, bands, T) to (B, channels, fewer bands, T)."""
    around = [1, 1, 1, 1]

    def conv(x: str, name: str, norm: str, stride: int, pads: list[int]) -> str:
        return _batch_norm(graph, _conv(graph, x, f"head.{name}", strides=[stride, 1], pads=pads), f"head.{norm}")

    x = graph.op("Relu", conv(x, "conv1", "bn1", 1, around))
    for layer, blocks in enumerate(config["head_blocks"], start=1):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", 1 if block else 2
            y = graph.op("Relu", conv(x, f"{name}.conv1", f"{name}.bn1", stride, around))
            y = conv(y, f"{name}.conv2", f"{name}.bn2", 1, around)
            if stride == 2:
                x = conv(x, f"{name}.shortcut.0", f"{name}.shortcut.1", 2, [0, 0, 0, 0])
            x = graph.op("Relu", graph.op("Add", y, x))
    return graph.op("Relu", conv(x, "conv2", "bn2", 2, around))


def _dense(graph: GraphBuilder, x: str, name: str, kernel: int, dilation: int) -> str:
    """`mamtra.encoders.campplus.DenseLayer`: the channels that it adds."""
    x = _norm_relu(graph, x, f"{name}.nonlinear1.batchnorm")
    x = _norm_relu(graph, _conv(graph, x, f"{name}.linear1"), f"{name}.nonlinear2.batchnorm")
    edge = (kernel - 1) // 2 * dilation
    local = _conv(graph, x, f"{name}.cam_layer.linear_local", pads=[0, edge, 0, edge], dilations=[1, dilation])
    whole = graph.op("ReduceMean", x, graph.constant([3]), keepdims=1)
    context = graph.op("Add", whole, _segment_means(graph, x))
    context = graph.op("Relu", _conv(graph, context, f"{name}.cam_layer.linear1"))
    return graph.op("Mul", local, graph.op("Sigmoid", _conv(graph, context, f"{name}.cam_layer.linear2")))


def _segment_means(graph: GraphBuilder, x: str) -> str:
    """`mamtra.encoders.campplus.segment_means` of (B, C, 1, T)."""
    sizes = {"kernel_shape": [1, SEGMENT], "strides": [1, SEGMENT]}
    means = graph.op("AveragePool", x, ceil_mode=1, count_include_pad=0, **sizes)
    means = graph.op("Expand", graph.op("Unsqueeze", means, graph.constant([4])), graph.constant([1, 1, 1, 1, SEGMENT]))
    means = graph.reshape(means, (0, 0, 1, -1))
    steps = graph.op("Shape", x, start=3, end=4)
    return graph.op("Slice", means, graph.constant([0]), steps, graph.constant([3]))


def _statistics(graph: GraphBuilder, x: str) -> str:
    """Mean and standard deviation of (B, C, T) over time, (B, 2 C); the variance is that of a sample."""
    axis = graph.constant([2])
    mean = graph.op("ReduceMean", x, axis, keepdims=1)
    distance = graph.op("Sub", x, mean)
    total = graph.op("ReduceSum", graph.op("Mul", distance, distance), axis, keepdims=0)
    steps = graph.op("Cast", graph.op("Shape", x, start=2, end=3), to=1)
    deviation = graph.op("Sqrt", graph.op("Div", total, graph.op("Sub", steps, graph.constant(1.0))))
    return graph.op("Concat", graph.op("Squeeze", mean, axis), deviation, axis=1)


def _tall(graph: GraphBuilder, x: str) -> str:
    """(B, C, T) to (B, C, 1, T)."""
    return graph.op("Unsqueeze", x, graph.constant([2]))


def _flat(graph: GraphBuilder, x: str) -> str:
    """(B, C, 1, T) to (B, T, C)."""
    return graph.op("Transpose", graph.op("Squeeze", x, graph.constant([2])), perm=[0, 2, 1])


def _conv(graph: GraphBuilder, x: str, name: str, **sizes: Any) -> str:
    """A convolution over images; one over time is over images of height 1."""
    shape = graph.weights[f"{name}.weight"].shape
    kernel = graph.weight(f"{name}.weight")
    kernel = kernel if len(shape) == 4 else _tall(graph, kernel)
    bias = [graph.weight(f"{name}.bias")] if f"{name}.bias" in graph.weights else []
    return graph.op("Conv", x, kernel, *bias, kernel_shape=[*[1] * (4 - len(shape)), *shape[2:]], **sizes)


def _norm_relu(graph: GraphBuilder, x: str, name: str) -> str:
    return graph.op("Relu", _batch_norm(graph, x, name))


def _batch_norm(graph: GraphBuilder, x: str, name: str, affine: bool = True) -> str:
    mean, variance = (graph.weight(f"{name}.running_{what}") for what in ("mean", "var"))
    if affine:
        scale, shift = (graph.weight(f"{name}.{what}") for what in ("weight", "bias"))
    else:
        size = graph.weights[f"{name}.running_mean"].shape
        scale, shift = graph.constant(np.ones(size, np.float32)), graph.constant(np.zeros(size, np.float32))
    return graph.op("BatchNormalization", x, scale, shift, mean, variance, epsilon=1e-5)
