"""The flow as two graphs: the encoder of speech tokens, and one Euler step of the mel.

Both continue from what earlier calls left, so that a stream computes every chunk once (`mamtra.acoustic.flow_stream`); a whole
utterance is one call after nothing. New positions see each other and all earlier ones: a caller who wants chunk masks calls
once a chunk.

    encoder   inputs    tokens       (1, N + A) int64       tokens, and those that follow them, of which nothing is made
                        padding      (1, A', width)         zeros in place of tokens that follow; A + A' = look-ahead
                        slow, fast   (P + 2 T, width)       `relative_positions` at the rates of tokens and of mel frames
                        embedding    (1, E)                 of the speaker
                        past.*                              state, see `encoder_state`
              outputs   mu           (1, T, mel)            T = token_mel_ratio * N
                        speaker      (1, 1, mel)
                        new.*

    step      inputs    x            (1, T, mel)            the mel at this flow time, time first
                        mu, prompt   (1, T, mel)            encoder output; mel of the prompt, then zeros
                        speaker      (1, 1, mel)
                        time         (1, 4 mel)             `time_encoding` of the flow time
                        dt           () float32             length of the step
                        length       (1, 4 mel)             its `time_encoding`, where the flow is a few-step one
                        past.*                              state, see `step_state`
              outputs   next         (1, T, mel)
                        new.*
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mamtra.light.graph import GraphBuilder
from mamtra.light.layers import affine, attention, layer_norm, mish, window_conv
from mamtra.light.protobuf import INT64

Shapes = dict[str, tuple[int | str, ...]]


def relative_positions(size: int, width: int, offset: int) -> np.ndarray:
    """`mamtra.acoustic.token_encoder.relative_positions` and one row more, which no score uses; (offset + 2 size, width)."""
    distance = np.arange(offset + size - 1, -size - 1, -1, dtype=np.float32)
    rate = np.exp(np.arange(0, width, 2, dtype=np.float32) * np.float32(-math.log(10000.0) / width))
    angle = distance[:, None] * rate
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(len(distance), width)


def time_encoding(t: float, width: int) -> np.ndarray:
    """Sines and cosines of a flow time in [0, 1], (1, width) float32, as `mamtra.acoustic.estimator.TimeEmbedding` has them."""
    half = width // 2
    rate = np.exp(np.arange(half, dtype=np.float32) * np.float32(-math.log(10000) / (half - 1)))
    angle = np.float32(1000 * t) * rate
    return np.concatenate([np.sin(angle), np.cos(angle)])[None]


def encoder_state(config: Mapping[str, Any]) -> Shapes:
    """Shapes of the encoder's state by name; a stream begins with conv of zeros and no keys and values."""
    width, heads, ratio = config["input_size"], config["encoder_heads"], config["token_mel_ratio"]
    shapes: Shapes = {"conv.ahead": (1, 2, width), "conv.up": (1, 2 * ratio, width)}
    for blocks, count, size in (("encoders", "encoder_blocks", "P"), ("up_encoders", "encoder_up_blocks", "Q")):
        for block in range(config[count]):
            shapes |= {f"{kind}.{blocks}.{block}": (1, heads, size, width // heads) for kind in ("key", "value")}
    return shapes


def step_state(config: Mapping[str, Any]) -> Shapes:
    """Shapes of the state of one Euler step by name; a stream begins with conv of zeros and no keys and values."""
    channels, heads, dim, rows = (
        config["estimator_channels"],
        config["estimator_heads"],
        config["estimator_head_dim"],
        _rows(config),
    )
    shapes: Shapes = {}
    for stage, width in _stages(config):
        shapes |= {f"conv.{stage}.1": (rows, 2, width), f"conv.{stage}.2": (rows, 2, channels)}
        for block in range(config["estimator_n_blocks"]):
            shapes |= {f"{kind}.{stage}.{block}": (rows, heads, "P", dim) for kind in ("key", "value")}
    return shapes | {f"conv.{name}": (rows, 2, channels) for name in ("down", "up", "final")}


def _rows(config: Mapping[str, Any]) -> int:
    """Rows of the estimator: with guidance one with the conditions and one without."""
    return 2 if config["inference_cfg_rate"] else 1


def _stages(config: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Parameter prefix and input width of each stage of the estimator."""
    channels = config["estimator_channels"]
    middle = [(f"mid_blocks.{i}", channels) for i in range(config["estimator_mid_blocks"])]
    return [("down_blocks.0", 4 * config["output_size"]), *middle, ("up_blocks.0", 2 * channels)]


class _State:
    """State of a graph: its inputs ``past.NAME`` and outputs ``new.NAME``."""

    def __init__(self, graph: GraphBuilder, shapes: Shapes) -> None:
        self._graph, self._shapes, self._new = graph, shapes, dict[str, str]()
        self.past = {name: graph.input(f"past.{name}", shape) for name, shape in shapes.items()}

    def put(self, name: str, value: str) -> None:
        self._new[name] = value

    def declare(self) -> None:
        """Make what was put the last outputs of the graph, in the order of the inputs."""
        for name, shape in self._shapes.items():
            later = tuple(f"{size}+T" if isinstance(size, str) else size for size in shape)
            self._graph.output(f"new.{name}", self._new[name], later)

    def causal_conv(self, x: str, name: str, weights: str) -> str:
        """A convolution over the current and earlier positions."""
        graph, before = self._graph, int(self._shapes[name][1])
        x = graph.op("Concat", self.past[name], x, axis=1)
        self.put(name, graph.op("Slice", x, graph.constant([-before]), graph.constant([2**62]), graph.constant([1])))
        return window_conv(graph, x, weights)

    def attend(self, q: str, k: str, v: str, name: str, bias: str = "") -> str:
        """Attention over earlier keys and values and the new ones."""
        past = self.past[f"key.{name}"], self.past[f"value.{name}"]
        y, key, value = attention(self._graph, q, k, v, *self._shapes[f"key.{name}"][1::2], past=past, bias=bias)
        self.put(f"key.{name}", key)
        self.put(f"value.{name}", value)
        return y


def build_encoder(graph: GraphBuilder, config: Mapping[str, Any]) -> None:
    """Write the graph of the encoder from an empty one over the weights of the flow."""
    width, mel, ratio = config["input_size"], config["output_size"], config["token_mel_ratio"]
    tokens = graph.input("tokens", (1, "N"), INT64)
    padding = graph.input("padding", (1, "A", width))
    slow, fast = graph.input("slow", ("P+2N", width)), graph.input("fast", ("Q+2T", width))
    embedding = graph.input("embedding", (1, config["spk_embed_dim"]))
    state = _State(graph, encoder_state(config))
    speaker = graph.op("LpNormalization", embedding, axis=1, p=2)
    speaker = graph.op("Unsqueeze", affine(graph, speaker, "spk_embed_affine_layer"), graph.constant([1]))
    x = _embed(graph, graph.rows("input_embedding.weight", tokens), "encoder.embed", width)
    x = graph.op("Concat", x, padding, axis=1)
    ahead = graph.constant([-config["pre_lookahead_len"] or 2**62])
    given = graph.op("Slice", x, graph.constant([0]), ahead, graph.constant([1]))
    x = graph.op("LeakyRelu", window_conv(graph, x, "encoder.pre_lookahead_layer.conv1"), alpha=0.01)
    x = graph.op("Add", given, state.causal_conv(x, "conv.ahead", "encoder.pre_lookahead_layer.conv2"))
    x = _conformer(graph, x, slow, state, config, "encoders", config["encoder_blocks"])
    # each token repeated for its frames
    x = graph.op("Unsqueeze", x, graph.constant([2]))
    x = graph.reshape(graph.op("Expand", x, graph.constant([1, 1, ratio, width])), (1, -1, width))
    x = state.causal_conv(x, "conv.up", "encoder.up_layer.conv")
    x = _embed(graph, x, "encoder.up_embed", width)
    x = _conformer(graph, x, fast, state, config, "up_encoders", config["encoder_up_blocks"])
    mu = affine(graph, layer_norm(graph, x, "encoder.after_norm"), "encoder_proj")
    graph.output("mu", mu, (1, "T", mel))
    graph.output("speaker", speaker, (1, 1, mel))
    state.declare()


def _embed(graph: GraphBuilder, x: str, name: str, width: int) -> str:
    x = layer_norm(graph, affine(graph, x, f"{name}.out.0"), f"{name}.out.1")
    return graph.op("Mul", x, graph.constant(math.sqrt(width)))


def _conformer(
    graph: GraphBuilder, x: str, positions: str, state: _State, config: Mapping[str, Any], blocks: str, count: int
) -> str:
    width, heads = config["input_size"], config["encoder_heads"]
    dim, one = width // heads, graph.constant([1])
    size = graph.op("Shape", x, start=1, end=2)
    row = graph.op("Sub", graph.op("Shape", positions, start=0, end=1), one)  # keys + T - 1
    keys = graph.op("Sub", row, graph.op("Sub", size, one))
    first = graph.op("Sub", size, one)
    last = graph.op("Add", first, graph.op("Mul", size, row))
    aligned = graph.op("Concat", graph.constant([1, heads]), size, row, axis=0)
    for block in range(count):
        name = f"encoder.{blocks}.{block}"
        at = f"{name}.self_attn"
        y = layer_norm(graph, x, f"{name}.norm_mha", 1e-12)
        q, k, v = (affine(graph, y, f"{at}.linear_{part}") for part in "qkv")
        p = graph.linear(positions, f"{at}.linear_pos.weight")
        p = graph.op("Transpose", graph.reshape(p, (-1, heads, dim)), perm=[1, 2, 0])
        by_content, by_position = (
            graph.op("Add", q, graph.reshape(graph.weight(f"{at}.pos_bias_{part}"), (width,))) for part in "uv"
        )
        by_position = graph.op("Transpose", graph.reshape(by_position, (1, -1, heads, dim)), perm=[0, 2, 1, 3])
        scores = graph.op("MatMul", graph.op("Mul", by_position, graph.constant(dim**-0.5)), p)
        # `mamtra.acoustic.token_encoder.align_distances`, with rows one longer, so that a single query needs no other way
        flat = graph.op("Slice", graph.reshape(scores, (1, heads, -1)), first, last, graph.constant([2]))
        bias = graph.op("Slice", graph.op("Reshape", flat, aligned), graph.constant([0]), keys, graph.constant([3]))
        y = state.attend(by_content, k, v, f"{blocks}.{block}", bias)
        x = graph.op("Add", x, affine(graph, y, f"{at}.linear_out"))
        y = affine(graph, layer_norm(graph, x, f"{name}.norm_ff", 1e-12), f"{name}.feed_forward.w_1")
        x = graph.op("Add", x, affine(graph, graph.silu(y), f"{name}.feed_forward.w_2"))
    return x


def build_step(graph: GraphBuilder, config: Mapping[str, Any]) -> None:
    """Write the graph of an Euler step from an empty one over the weights of the flow."""
    mel, guidance = config["output_size"], float(config["inference_cfg_rate"])
    x, mu, prompt = (graph.input(name, (1, "T", mel)) for name in ("x", "mu", "prompt"))
    speaker, time = graph.input("speaker", (1, 1, mel)), graph.input("time", (1, 4 * mel))
    dt = graph.input("dt", ())
    length = graph.input("length", (1, 4 * mel)) if config.get("trained_steps") else ""
    state = _State(graph, step_state(config))
    speaker = graph.op("Expand", speaker, graph.op("Shape", x))
    inputs = graph.op("Concat", x, mu, speaker, prompt, axis=-1)
    if guidance:
        free = graph.op("Pad", x, graph.constant([0, 0, 0, 0, 0, 3 * mel]))
        inputs = graph.op("Concat", inputs, free, axis=0)
    slope = _estimator(graph, inputs, _time(graph, time, length), state, config)
    if guidance:
        given, free = graph.ops(2, "Split", slope, axis=0, num_outputs=2)
        given = graph.op("Mul", given, graph.constant(1 + guidance))
        slope = graph.op("Sub", given, graph.op("Mul", free, graph.constant(guidance)))
    graph.output("next", graph.op("Add", x, graph.op("Mul", dt, slope)), (1, "T", mel))
    state.declare()


def _time(graph: GraphBuilder, time: str, length: str) -> str:
    """`mamtra.acoustic.estimator.embed_time`, after its Mish."""

    def embed(encoding: str, name: str) -> str:
        hidden = graph.silu(affine(graph, encoding, f"{name}.linear_1"))
        return affine(graph, hidden, f"{name}.linear_2")

    embedded = embed(time, "decoder.estimator.time_mlp")
    if length:
        embedded = graph.op("Add", embedded, embed(length, "decoder.estimator.length_mlp"))
    return mish(graph, embedded)


def _estimator(graph: GraphBuilder, x: str, time: str, state: _State, config: Mapping[str, Any]) -> str:
    """`mamtra.acoustic.estimator.Estimator`."""
    prefix = "decoder.estimator."

    def block(x: str, name: str, cache: str) -> str:
        y = state.causal_conv(x, cache, f"{name}.block.0")
        return mish(graph, layer_norm(graph, y, f"{name}.block.2"))

    def run(stage: str, x: str) -> str:
        name = f"{prefix}{stage}.0"
        shift = graph.op("Unsqueeze", affine(graph, time, f"{name}.mlp.1"), graph.constant([1]))
        y = graph.op("Add", block(x, f"{name}.block1", f"conv.{stage}.1"), shift)
        y = block(y, f"{name}.block2", f"conv.{stage}.2")
        x = graph.op("Add", y, window_conv(graph, x, f"{name}.res_conv"))
        for i in range(config["estimator_n_blocks"]):
            x = _transformer(graph, x, f"{prefix}{stage}.1.{i}", f"{stage}.{i}", state)
        return x

    (down, _), *middle, (up, _) = _stages(config)
    skip = run(down, x)
    x = state.causal_conv(skip, "conv.down", f"{prefix}{down}.2")
    for stage, _ in middle:
        x = run(stage, x)
    x = run(up, graph.op("Concat", x, skip, axis=-1))
    x = block(state.causal_conv(x, "conv.up", f"{prefix}{up}.2"), f"{prefix}final_block", "conv.final")
    return window_conv(graph, x, f"{prefix}final_proj")


def _transformer(graph: GraphBuilder, x: str, name: str, cache: str, state: _State) -> str:
    y = layer_norm(graph, x, f"{name}.norm1")
    qkv = graph.linear(y, [f"{name}.attn1.to_{part}.weight" for part in "qkv"])
    y = state.attend(*graph.ops(3, "Split", qkv, axis=-1, num_outputs=3), cache)
    x = graph.op("Add", x, affine(graph, y, f"{name}.attn1.to_out.0"))
    y = graph.op("Gelu", affine(graph, layer_norm(graph, x, f"{name}.norm3"), f"{name}.ff.net.0.proj"))
    return graph.op("Add", x, affine(graph, y, f"{name}.ff.net.2"))
