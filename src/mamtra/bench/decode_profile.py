"""Where the time of a decode step goes: every kind of kernel in a chain of its own, on the weights and states of all layers."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from mamtra.engine.decode_step import DecodeStep
from mamtra.engine.device_sampling import gather_inputs, sample_slots
from mamtra.ops.decode_attention import decode_attention
from mamtra.ops.decode_linear import decode_linear, decode_linear_add
from mamtra.ops.mamba_step import mamba_step


@torch.inference_mode()
def kernel_times(
    step: DecodeStep, rows: int, length: int, timed: Callable[[Callable[[], Any]], list[float]]
) -> dict[str, dict[str, float]]:
    """Microseconds of one step, calls and bytes by kind of kernel.

    Args:
        step: whose slots are all in use.
        rows: of the step.
        length: cached positions of a row.
        timed: milliseconds of a call, several times.
    """
    w, pool, space = step.weights, step.pool, step._workspace
    layers = list(zip(w.layers, step._caches, strict=True))
    attention = [(layer, *caches) for layer, caches in layers if layer.mamba is None]
    mamba = [(layer, *caches) for layer, caches in layers if layer.mamba is not None]
    device = pool.lengths.device
    slots, hidden, normed = gather_inputs(
        torch.arange(rows, dtype=torch.int32, device=device), step.table, w.layers[0].norm, w.eps
    )
    config = pool.config
    mixed = hidden.new_zeros(rows, config.query_size)
    gated = hidden.new_zeros(rows, config.intermediate_size)
    logits = decode_linear(normed, w.head, w.head_bias, eps=w.eps, workspace=space)

    def project(layer: Any) -> torch.Tensor:
        return decode_linear(normed, layer.project, layer.project_bias, eps=layer.eps, workspace=space)

    def attend(qkv: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
        return decode_attention(qkv, cache, slots, pool.lengths, pool.cos, pool.sin, workspace=space)

    def add(x: torch.Tensor, layer: Any, weight: torch.Tensor) -> Any:
        return decode_linear_add(x, weight, hidden, layer.norm, eps=layer.eps, workspace=space)

    size = hidden.element_size()
    cached = rows * length * 2 * config.key_value_size * size
    kinds: dict[str, tuple[list[Callable[[], Any]], int]] = {}
    if attention:
        qkv = project(attention[0][0])
        kinds["queries, keys, values"] = (
            [lambda layer=layer: project(layer) for layer, _ in attention], attention[0][0].project.numel() * size,
        )  # fmt: skip
        kinds["attention"] = [lambda cache=cache: attend(qkv, cache) for _, cache in attention], cached
    if mamba:
        projected, state = project(mamba[0][0]), mamba[0][2]
        kinds["Mamba in_proj"] = (
            [lambda layer=layer: project(layer) for layer, *_ in mamba],
            mamba[0][0].project.numel() * size,
        )
        kinds["Mamba step"] = (
            [lambda layer=layer, conv=conv, ssm=ssm: mamba_step(projected, conv, ssm, slots, pool.lengths, layer.mamba)
             for layer, conv, ssm in mamba],
            2 * rows * state[0].numel() * state.element_size(),
        )  # fmt: skip
    first = w.layers[0]
    kinds["output projection"] = [lambda l=l: add(mixed, l, l.out) for l in w.layers], first.out.numel() * size  # noqa: E741
    kinds["gate and up"] = (
        [lambda l=l: decode_linear(normed, l.gate_up, eps=l.eps, gated=True, workspace=space) for l in w.layers],  # noqa: E741
        first.gate_up.numel() * size,
    )
    kinds["down"] = [lambda l=l: add(gated, l, l.down) for l in w.layers], first.down.numel() * size  # noqa: E741
    kinds["head"] = (
        [lambda: decode_linear(normed, w.head, w.head_bias, eps=w.eps, workspace=space)],
        w.head.numel() * size,
    )
    kinds["sampler"] = (
        [lambda: sample_slots(logits, slots, step.table, pool.lengths, w.embeddings)],
        logits.numel() * size,
    )
    found = {}
    for name, (calls, each) in kinds.items():
        times = timed(lambda calls=calls: [call() for call in calls])
        found[name] = {"us": 1e3 * statistics.median(times), "calls": len(calls), "bytes": each * len(calls)}
    return found
