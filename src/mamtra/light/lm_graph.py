"""The language model as a graph: any number of new positions after a state, to the logits that follow the last of them.

    inputs    x              (1, L, hidden_size)                    embedded inputs, or `hidden` of earlier layers
              after          (1,) int32                             positions of the sequence after this call, less one
              total          () int32                               positions of the sequence after this call
              cos, sin       (capacity, head_dim / 2)               `rope_table`
              key.N, value.N (1, kv_heads, capacity, head_dim)      of each attention layer N, keys RoPE-rotated
              conv.N         (1, taps - 1, channels)                of each Mamba layer N, oldest input first
              ssm.N          (1, heads, head_dim, head_dim)         of each Mamba layer N, state size by channels
    outputs   logits         (1, ids)
              hidden         (1, L, 2 hidden_size)                  instead, where other layers follow: two parts of a sum
              query          (1, head_dim)                          with a head to follow: its query at the last position, not
                                                                    rotated; its keys are in key.N
              new.key.N, new.value.N, new.conv.N, new.ssm.N

A new key or value has the same buffer as the old one (past and present are shared); conv and ssm have two buffers in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from mamtra.light.graph import CONTRIB, GraphBuilder
from mamtra.light.protobuf import INT32

_VECTOR = 16
STATES = {"full_attention": ("key", "value"), "linear_attention": ("conv", "ssm")}
"""Names of the state tensors of a layer, by its kind."""


def state_shapes(
    config: Mapping[str, Any],
    capacity: int | str = "capacity",
    rows: int | str = "B",
    numbers: range | None = None,
) -> dict[str, tuple[int | str, ...]]:
    """Shapes of state tensors by name, for a greatest number of positions and a number of sequences, of all or some layers."""
    heads, groups, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    kv = (rows, groups, capacity, dim)
    shapes = {
        "key": kv,
        "value": kv,
        "conv": (rows, config["mamba_conv_kernel"] - 1, (heads + 2 * groups) * dim),
        "ssm": (rows, heads, dim, dim),
    }
    kinds = config["layer_types"]
    numbers = numbers or range(len(kinds))
    return {f"{state}.{layer}": shapes[state] for layer in numbers for state in STATES[kinds[layer]]}


def build_lm(
    graph: GraphBuilder,
    config: Mapping[str, Any],
    head: tuple[int, int] | None = None,
    numbers: range | None = None,
) -> None:
    """Write the graph from an empty one over the weights of the language model.

    Args:
        graph: to write to.
        config: section of config.json.
        head: an attention layer and the number of a head in it, whose query is to be an output.
        numbers: of the layers, one after the other; by default all.
    """
    width, eps, kinds = config["hidden_size"], float(config["rms_norm_eps"]), config["layer_types"]
    numbers, shared = numbers or range(len(kinds)), {}
    if any(kinds[layer] == "full_attention" for layer in numbers):
        shared |= {"after": graph.input("after", ("B",), INT32), "total": graph.input("total", (), INT32)}
        shared |= {name: graph.input(name, ("capacity", config["head_dim"] // 2)) for name in ("cos", "sin")}
    shapes = state_shapes(config, numbers=numbers)
    states = {name: graph.input(name, shape) for name, shape in shapes.items()}
    first = f"model.layers.{numbers[0]}.input_layernorm.weight"
    if numbers[0]:
        parts = graph.ops(2, "Split", graph.input("x", ("B", "L", 2 * width)), axis=-1, num_outputs=2)
        normed, hidden = _add_and_norm(graph, *parts, first, eps)
    else:
        hidden = graph.input("x", ("B", "L", width))
        normed = graph.op("SimplifiedLayerNormalization", hidden, graph.weight(first), epsilon=eps, axis=-1)
    for layer in numbers:
        kind, prefix = kinds[layer], f"model.layers.{layer}"
        followed = head[1] if head and head[0] == layer else None
        mixer = partial(_attention, followed=followed) if kind == "full_attention" else _mamba
        names = [f"{state}.{layer}" for state in STATES[kind]]
        more, new = mixer(graph, f"{prefix}.", normed, [states[name] for name in names], shared, config)
        for name, value in zip(names, new, strict=True):
            graph.output(f"new.{name}", value, shapes[name])
        normed, hidden = _add_and_norm(graph, more, hidden, f"{prefix}.post_attention_layernorm.weight", eps)
        more = _mlp(graph, f"{prefix}.mlp", normed)
        if layer + 1 == numbers.stop < len(kinds):
            # the layers that follow add them in the operator that normalises, as within a graph
            graph.output("hidden", graph.op("Concat", more, hidden, axis=-1), ("B", "L", 2 * width))
            return
        if layer + 1 == len(kinds):
            # only the last position is asked for its logits
            more, hidden = (graph.op("Gather", value, graph.constant(-1), axis=1) for value in (more, hidden))
        following = f"model.layers.{layer + 1}.input_layernorm" if layer + 1 < len(kinds) else "model.norm"
        normed, hidden = _add_and_norm(graph, more, hidden, f"{following}.weight", eps)
    logits = graph.linear(normed, "llm_decoder.weight", graph.weight("llm_decoder.bias"))
    graph.output("logits", logits, ("B", config["speech_vocab_size"]))


def rope_table(config: Mapping[str, Any], capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine (capacity, head_dim / 2) float32 of every position."""
    exponent = np.arange(0, config["head_dim"], 2, dtype=np.float32) / np.float32(config["head_dim"])
    frequencies = np.float32(config["rope_theta"]) ** -exponent
    angle = np.arange(capacity, dtype=np.float32)[:, None] * frequencies
    return np.cos(angle), np.sin(angle)


def _add_and_norm(graph: GraphBuilder, more: str, hidden: str, weight: str, eps: float) -> tuple[str, str]:
    """``norm(hidden + more)`` and the sum."""
    normed, _, _, total = graph.ops(
        4, "SkipSimplifiedLayerNormalization", more, hidden, graph.weight(weight), domain=CONTRIB, epsilon=eps
    )
    return normed, total


def _mlp(graph: GraphBuilder, prefix: str, x: str) -> str:
    both = graph.linear(x, [f"{prefix}.gate_proj.weight", f"{prefix}.up_proj.weight"])
    gate, up = graph.ops(2, "Split", both, axis=-1, num_outputs=2)
    return graph.linear(graph.op("Mul", graph.silu(gate), up), f"{prefix}.down_proj.weight")


def _attention(
    graph: GraphBuilder,
    layer: str,
    x: str,
    state: list[str],
    shared: Mapping[str, str],
    config: Mapping[str, Any],
    *,
    followed: int | None,
) -> tuple[str, list[str]]:
    prefix = f"{layer}self_attn"
    bias = ""
    if config["attention_bias"]:
        bias = graph.op("Concat", *(graph.weight(f"{prefix}.{name}_proj.bias") for name in "qkv"), axis=0)
    qkv = graph.linear(x, [f"{prefix}.{name}_proj.weight" for name in "qkv"], bias)
    if followed is not None:
        dim = config["head_dim"]
        last = graph.op("Gather", qkv, graph.constant(-1), axis=1)
        place = [graph.constant([bound]) for bound in (followed * dim, (followed + 1) * dim, 1)]
        graph.output("query", graph.op("Slice", last, *place), ("B", dim))
    y, key, value = graph.ops(
        3,
        "GroupQueryAttention",
        *(qkv, "", "", *state, shared["after"], shared["total"], shared["cos"], shared["sin"]),
        domain=CONTRIB,
        num_heads=config["num_attention_heads"],
        kv_num_heads=config["num_key_value_heads"],
        do_rotary=1,
    )
    return graph.linear(y, f"{prefix}.o_proj.weight"), [key, value]


def _mamba(
    graph: GraphBuilder, layer: str, x: str, state: list[str], shared: Mapping[str, str], config: Mapping[str, Any]
) -> tuple[str, list[str]]:
    """`mamtra.ops.mixer.mamba_mixer`; dt_bias is added to the bias of the projection."""
    prefix = f"{layer}mamba"
    heads, groups, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    inner, narrow = heads * dim, groups * dim
    bias = graph.op(
        "Concat",
        graph.constant(np.zeros(2 * inner + 2 * narrow, np.float32)),
        graph.weight(f"{prefix}.dt_bias"),
        axis=0,
    )
    if config["mamba_qkv_bias"]:
        bias = graph.op("Add", bias, graph.weight(f"{prefix}.in_proj.bias"))
    projected = graph.linear(x, f"{prefix}.in_proj.weight", bias)
    z, xbc, dt = graph.ops(3, "Split", projected, graph.constant([inner, inner + 2 * narrow, heads]), axis=-1)
    weights = (graph.weight(f"{prefix}.conv1d.weight"), graph.weight(f"{prefix}.conv1d.bias"))
    # the operator's own activation takes as long as the rest of it
    xbc, conv = graph.ops(2, "CausalConvWithState", xbc, *weights, state[0], domain=CONTRIB, channels_last=1)
    x, b, c = graph.ops(3, "Split", graph.silu(xbc), graph.constant([narrow, narrow, inner]), axis=-1)
    dt = _softplus(graph, dt, heads)
    decay = graph.op("Mul", dt, graph.op("Neg", graph.op("Exp", graph.weight(f"{prefix}.A_log"))))
    x, b = _spread(graph, x, heads, groups, dim), _repeated(graph, b, heads, groups, dim)
    value = graph.reshape(graph.op("Mul", x, graph.op("Unsqueeze", dt, graph.constant([-1]))), (0, 0, inner))
    y, ssm = graph.ops(
        2,
        "LinearAttention",
        *(c, b, value, state[1], decay),
        domain=CONTRIB,
        update_rule="gated",
        q_num_heads=heads,
        kv_num_heads=heads,
        scale=1.0,
    )
    skipped = graph.op("Mul", x, graph.op("Unsqueeze", graph.weight(f"{prefix}.D"), graph.constant([-1])))
    y = graph.op("Add", graph.reshape(y, (0, 0, heads, dim)), skipped)
    y = graph.op("Mul", y, graph.reshape(graph.silu(z), (0, 0, heads, dim)))
    ones = graph.constant(np.ones(dim, np.float32))
    y = graph.op("SimplifiedLayerNormalization", y, ones, epsilon=float(config["mamba_norm_eps"]), axis=-1)
    y = graph.op("Mul", y, graph.reshape(graph.weight(f"{prefix}.norm.weight"), (heads, dim)))
    return graph.linear(graph.reshape(y, (0, 0, inner)), f"{prefix}.out_proj.weight"), [conv, ssm]


def _softplus(graph: GraphBuilder, x: str, heads: int) -> str:
    """Of (B, L, heads), in whole vectors of the processor: what is left over is computed otherwise, and a row would depend on B."""
    missing = -heads % _VECTOR
    if not missing:
        return graph.op("Softplus", x)
    padded = graph.op("Pad", x, graph.constant([0, 0, 0, 0, 0, missing]))
    return graph.ops(2, "Split", graph.op("Softplus", padded), graph.constant([heads, missing]), axis=-1)[0]


def _spread(graph: GraphBuilder, x: str, heads: int, groups: int, dim: int) -> str:
    """(1, L, groups * dim) to (1, L, heads, dim), or to (1, L, 1, dim) where all heads share one group."""
    if groups == 1:
        return graph.op("Unsqueeze", x, graph.constant([2]))
    return graph.reshape(_repeated(graph, x, heads, groups, dim), (0, 0, heads, dim))


def _repeated(graph: GraphBuilder, x: str, heads: int, groups: int, dim: int) -> str:
    """(1, L, groups * dim) to (1, L, heads * dim), each group repeated for its heads."""
    if heads == groups:
        return x
    if groups == 1:
        return graph.op("Concat", *[x] * heads, axis=-1)
    x = graph.reshape(x, (0, 0, groups, 1, dim))
    x = graph.op("Expand", x, graph.constant([1, 1, groups, heads // groups, dim]))
    return graph.reshape(x, (0, 0, heads * dim))
