"""Figure 5 of the paper: size of the decoding state as the context grows, allocated and by formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mamtra.cost.memory import stream_bytes
from mamtra.cost.presets import cosyvoice2_config
from mamtra.cost.shapes import blueprint_of
from mamtra.cost.units import byte_count
from mamtra.models.config import SpeechLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.state import AttentionState, DecodeState
from mamtra.paper.study import Study
from mamtra.paper.table1 import RATIOS
from mamtra.runtime.plotting import canvas, need_matplotlib
from mamtra.runtime.results import markdown_table

CONTEXTS = tuple(2**power for power in range(7, 18))
"""128 to 131,072 tokens."""
ALLOCATED = 2**28
"""Larger states, in bytes, are created on PyTorch's "meta" device, without memory."""
COLOURS = ("#000000", "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee8866", "#aa3377")
"""Of the curves: attention dark, Mamba warm."""

NOTES = """One stream of a model of CosyVoice 2's sizes (24 layers, 14 heads of 64; MHA has 14 key/value heads, all others 2).
Keys, values and convolution inputs are bfloat16, recurrent states float32. "Allocated" is the size of the memory behind the tensors
of a `DecodeState` with room for the context; states above {limit} are laid out without it. Largest difference between allocated and
formula: {difference} B.

A hybrid needs less than GQA from {even} tokens on ({seconds:.1f} s of speech at 25 Hz), whatever its ratio; below, its recurrent
states cost more than the keys and values they replace. Beyond, only the attention layers that are left grow."""


def _find() -> dict[str, Any]:
    """Allocate the states of every model at every context.

    Raises:
        MamTraError: matplotlib is missing.
    """
    need_matplotlib()
    points = [_point(name, config, context) for name, config in _models().items() for context in CONTEXTS]
    return {"break_even_tokens": _even_length(points), "rows": points}


def _page(found: dict[str, Any]) -> str:
    points, even = found["rows"], found["break_even_tokens"]
    sizes = {(p["model"], p["context"]): p["allocated_bytes"] for p in points}
    names, contexts = (list(dict.fromkeys(p[key] for p in points)) for key in ("model", "context"))
    table = markdown_table(
        ("context", *names),
        ((f"{context:,}", *(byte_count(sizes[name, context]) for name in names)) for context in contexts),
    )
    notes = NOTES.format(
        limit=byte_count(ALLOCATED),
        difference=max(abs(p["allocated_bytes"] - p["formula_bytes"]) for p in points),
        even=even,
        seconds=even / 25,
    )
    return f"{table}\n\n{notes}"


def _models() -> dict[str, SpeechLMConfig]:
    """The curves by name: attention of both kinds, every ratio of the paper, Mamba alone."""
    teacher = cosyvoice2_config()

    def hybrid(ratio: str) -> SpeechLMConfig:
        plan = LayerPlan.from_ratio(teacher.num_hidden_layers, ratio)
        return teacher.model_copy(update={"layer_types": plan.layer_types})

    return {
        "MHA": teacher.model_copy(update={"num_key_value_heads": teacher.num_attention_heads}),
        "GQA (1:0)": teacher,
        **{ratio: hybrid(ratio) for ratio in RATIOS},
        "Mamba (0:1)": hybrid("0:1"),
    }


def _point(name: str, config: SpeechLMConfig, context: int) -> dict[str, Any]:
    blueprint = blueprint_of(config, name)
    formula = stream_bytes(blueprint, blueprint.plan, context)
    device = "cpu" if formula <= ALLOCATED else "meta"
    state = DecodeState.empty(config, 1, context, device, torch.bfloat16)
    memory = (
        tensor.untyped_storage().nbytes()
        for layer in state.layers
        for tensor in ((layer.kv,) if isinstance(layer, AttentionState) else (layer.conv, layer.ssm))
    )
    return {
        "model": name,
        "context": context,
        "allocated_bytes": sum(memory),
        "formula_bytes": formula,
        "device": device,
    }


def _even_length(points: list[dict[str, Any]]) -> int:
    """Context at which the allocated states of 1:1 and of GQA are equal, from the two ends of their straight lines."""
    sizes = {(p["model"], p["context"]): p["allocated_bytes"] for p in points}
    gaps = [sizes["1:1", context] - sizes["GQA (1:0)", context] for context in (CONTEXTS[0], CONTEXTS[-1])]
    return CONTEXTS[0] + -(-gaps[0] * (CONTEXTS[-1] - CONTEXTS[0]) // (gaps[0] - gaps[1]))


def _draw(found: dict[str, Any], path: Path) -> None:
    """Lines by formula, marks as allocated, hollow without memory behind."""
    points, even = found["rows"], found["break_even_tokens"]
    with canvas(path, (7.2, 4.6)) as figure:
        axes = figure.add_subplot()
        for name, colour in zip(_models(), COLOURS, strict=True):
            mine = [p for p in points if p["model"] == name]
            contexts = [p["context"] for p in mine]
            axes.plot(contexts, [p["formula_bytes"] / 2**20 for p in mine], color=colour, linewidth=1)
            for device, fill in (("cpu", colour), ("meta", "white")):
                marks = [p for p in mine if p["device"] == device]
                axes.plot(
                    [p["context"] for p in marks], [p["allocated_bytes"] / 2**20 for p in marks], "o",
                    color=colour, markerfacecolor=fill, markersize=3.5,
                )  # fmt: skip
            axes.annotate(
                name, (contexts[-1], mine[-1]["formula_bytes"] / 2**20), (6, 0), textcoords="offset points",
                color=colour, fontsize=8, va="center",
            )  # fmt: skip
        axes.axvline(even, color="#999999", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{even} tokens, {even / 25:.1f} s",
            (even, 2),
            (4, 0),
            textcoords="offset points",
            fontsize=8,
            color="#555555",
        )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(CONTEXTS, [f"{c // 1024}k" if c >= 1024 else str(c) for c in CONTEXTS], fontsize=8)
        axes.set_yticks((1, 10, 100, 1000, 10000), ("1", "10", "100", "1,000", "10,000"), fontsize=8)
        axes.set(xlabel="context, tokens", ylabel="cache and state of one stream, MiB", xlim=(110, 131072 * 2.6))
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        top = axes.secondary_xaxis("top", functions=(lambda t: t / 25, lambda s: s * 25))
        top.set_xscale("log", base=2)
        seconds = (10, 60, 300, 1800, 3600)
        top.set_xticks(seconds, ["10 s", "1 min", "5 min", "30 min", "1 h"], fontsize=8)
        top.set_xlabel("of speech at 25 Hz", fontsize=8)
        axes.set_title(
            "lines by formula, marks as allocated (hollow: laid out without memory behind)", fontsize=8, color="#555555"
        )


STUDY = Study("fig5", "Figure 5: cache by context", _find, _page, _draw)
