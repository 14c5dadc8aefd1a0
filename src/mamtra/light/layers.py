"""Layers that several graphs share, over values (batch, time, channels), with the parameter names of `mamtra.acoustic`."""

from __future__ import annotations

from mamtra.light.graph import CONTRIB, GraphBuilder


def affine(graph: GraphBuilder, x: str, name: str) -> str:
    """``torch.nn.Linear`` with bias."""
    return graph.linear(x, f"{name}.weight", graph.weight(f"{name}.bias"))


def layer_norm(graph: GraphBuilder, x: str, name: str, eps: float = 1e-5) -> str:
    """``torch.nn.LayerNorm`` over the channels."""
    return graph.op(
        "LayerNormalization", x, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias"), axis=-1, epsilon=eps
    )


def window_conv(graph: GraphBuilder, x: str, name: str) -> str:
    """``torch.nn.Conv1d`` without padding, stride or dilation, as one product over windows: time shrinks by kernel - 1."""
    taps = graph.weights[f"{name}.weight"].shape[2]
    if taps > 1:
        last = [graph.constant([tap - taps + 1 or 2**62]) for tap in range(taps)]
        axis = graph.constant([1])
        parts = [graph.op("Slice", x, graph.constant([tap]), last[tap], axis) for tap in range(taps)]
        x = graph.op("Concat", *parts, axis=-1)
    return graph.linear(x, f"{name}.weight", graph.weight(f"{name}.bias"))


def mish(graph: GraphBuilder, x: str) -> str:
    """``x * tanh(log(1 + exp(x)))``, which is ``x * n / (n + 2)`` with ``n = e^x (e^x + 2)``; beyond 20 the fraction is 1."""
    two = graph.constant(2.0)
    power = graph.op("Exp", graph.op("Min", x, graph.constant(20.0)))
    n = graph.op("Mul", power, graph.op("Add", power, two))
    return graph.op("Mul", x, graph.op("Div", n, graph.op("Add", n, two)))


def attention(
    graph: GraphBuilder,
    q: str,
    k: str,
    v: str,
    heads: int,
    dim: int,
    *,
    past: tuple[str, str] | None = None,
    bias: str = "",
) -> tuple[str, str, str]:
    """Multi-head attention of (B, T, heads * dim) over earlier keys and values (B, heads, P, dim), if any, and the new ones.

    Written out, since `MultiHeadAttention` with earlier keys takes several times as long on a CPU.

    Args:
        bias: added to the scores, (1, heads, T, P + T).

    Returns:
        The result (B, T, heads * dim), and all keys and values.
    """
    q, k, v = (graph.op("Transpose", graph.reshape(x, (0, 0, heads, dim)), perm=[0, 2, 1, 3]) for x in (q, k, v))
    if past:
        k, v = (graph.op("Concat", before, new, axis=2) for before, new in zip(past, (k, v), strict=True))
    scores = graph.op("FusedMatMul", q, k, domain=CONTRIB, alpha=dim**-0.5, transB=1)
    weights = graph.op("Softmax", graph.op("Add", scores, bias) if bias else scores, axis=-1)
    y = graph.op("Transpose", graph.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    return graph.reshape(y, (0, 0, heads * dim)), k, v
