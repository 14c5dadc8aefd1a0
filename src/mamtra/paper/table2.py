"""Table 2 of the paper: how operations and memory of the three mixers grow with the length, counted on the real modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mamtra.cost.flops import scan_flops
from mamtra.cost.shapes import AttentionShape, blueprint_of
from mamtra.cost.units import byte_count
from mamtra.models.attention import Attention
from mamtra.models.config import BackboneConfig
from mamtra.models.mamba import MambaMixer
from mamtra.models.positions import Positions
from mamtra.models.state import DecodeState
from mamtra.paper.study import Study
from mamtra.runtime.results import markdown_table

LENGTHS = (1280, 1536, 1792)
"""Where is measured: three points fix a parabola; multiples of the chunk of the scan."""
SHOWN = (2048, 32768)
QUANTITIES = ("flops", "training, scores kept", "training, fused", "decoding")

PAPER = {
    "MHA": ("O(L² d + L d²)", "O(L² + L d)", "O(L d)"),
    "GQA": ("O(L² d + L d²)", "O(L² + L d)", "O(L d_kv)"),
    "Mamba": ("O(L d²)", "O(L d)", "O(d N)"),
}
"""FLOPs, training and inference memory of Table 2 (arXiv 2603.12342v1)."""

NOTES = """One mixer of CosyVoice 2's sizes (d = 896, 14 heads of 64; GQA has 2 key/value heads, d_kv = 128; N = 64), one
sequence of L tokens. Each polynomial goes through what was measured at {lengths} tokens; coefficients below one half are left out.

* FLOPs: a forward pass under PyTorch's counter, the scan in chunks of 64. The formula of `mamtra plan --scan chunks` agrees with
  the counter at every length: {agree}. Mamba's small L² is the product that carries
  states over more than 16 chunks; fewer hand them over one by one.
* Training memory: bytes that the forward pass keeps for the backward pass, float32, parameters aside. The L² of attention is there
  only where the scores are kept; fused attention, which this package uses, has none, and then keeps less than the scan in plain
  PyTorch. GQA keeps as much as MHA: keys and values are repeated for all heads before the scores.
* Decoding memory: the state of one layer as `DecodeState` allocates it, bfloat16, the recurrent state float32."""


def _find() -> dict[str, Any]:
    """Measure the three mixers and fit the growth."""
    found = {name: [_measure(name, length) for length in LENGTHS] for name in PAPER}
    curves = {
        name: {quantity: _parabola([point[quantity] for point in points]) for quantity in QUANTITIES}
        for name, points in found.items()
    }
    rows = [{"mixer": name, **point} for name, points in found.items() for point in points]
    agree = all(row["flops"] == row["flops by formula"] for row in rows)
    return {"polynomials": curves, "formula_agrees": agree, "rows": rows}


def _page(found: dict[str, Any]) -> str:
    curves = found["polynomials"]
    growth = markdown_table(
        ("mixer", "FLOPs", "paper", "training, scores kept, B", "training, fused, B", "paper", "decoding, B", "paper"),
        (
            (name, _text(c["flops"]), PAPER[name][0], _text(c["training, scores kept"]), _text(c["training, fused"]),
             PAPER[name][1], _text(c["decoding"]), PAPER[name][2])
            for name, c in curves.items()
        ),
    )  # fmt: skip
    sizes = markdown_table(
        ("mixer", "L", "GFLOP", "training, scores kept", "training, fused", "decoding"),
        (
            (name, f"{length:,}", f"{_at(c['flops'], length) / 1e9:,.2f}",
             *(byte_count(_at(c[quantity], length)) for quantity in QUANTITIES[1:]))
            for length in SHOWN
            for name, c in curves.items()
        ),
    )  # fmt: skip
    notes = NOTES.format(lengths=", ".join(map(str, LENGTHS)), agree="yes" if found["formula_agrees"] else "NO")
    return f"{growth}\n\nThe same at two lengths, from the polynomials:\n\n{sizes}\n\n{notes}"


def _config(name: str) -> BackboneConfig:
    return BackboneConfig(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=1,
        num_attention_heads=14,
        num_key_value_heads=14 if name == "MHA" else 2,
        head_dim=64,
        layer_types=("linear_attention",) if name == "Mamba" else ("full_attention",),
    )


def _measure(name: str, length: int) -> dict[str, int]:
    """Counts of one mixer at one length."""
    config = _config(name)
    mixer = (MambaMixer if name == "Mamba" else Attention)(config)
    x = torch.zeros(1, length, config.hidden_size, requires_grad=True)
    positions = Positions.from_zero(length, config, x.device)
    # The counter cannot see into fused attention on a CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        mixer(x, positions)
    with sdpa_kernel(SDPBackend.MATH):
        kept = _kept_bytes(mixer, x, positions)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        fused = _kept_bytes(mixer, x, positions)
    state = DecodeState.empty(config, 1, length, dtype=torch.bfloat16)
    return {
        "L": length,
        "flops": counter.get_total_flops(),
        "flops by formula": _formula(config, length),
        "training, scores kept": kept,
        "training, fused": fused,
        "decoding": state.bytes(),
    }


def _formula(config: BackboneConfig, length: int) -> int:
    blueprint = blueprint_of(config, "mixer")
    (layer,) = blueprint.layers()
    dense = 2 * length * layer.mixer.projection_weights
    if isinstance(layer.mixer, AttentionShape):
        return dense + 4 * length * length * layer.mixer.inner
    return dense + scan_flops(layer.mixer, length, "chunks")


class _Kept:
    """Holds a tensor for as long as the backward pass may need it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def _kept_bytes(mixer: nn.Module, x: torch.Tensor, positions: Positions) -> int:
    """Bytes of all memory but that of parameters which a forward pass keeps for the backward pass."""
    parameters = {p.untyped_storage().data_ptr() for p in mixer.parameters()}
    kept: WeakSet[_Kept] = WeakSet()

    def keep(tensor: torch.Tensor) -> _Kept:
        held = _Kept(tensor)
        kept.add(held)
        return held

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda held: held.tensor):
        output = mixer(x, positions)
    memory = (held.tensor.untyped_storage() for held in kept)
    sizes = {m.data_ptr(): m.nbytes() for m in memory if m.data_ptr() not in parameters}
    del output  # until here its graph kept what is counted
    return sum(sizes.values())


def _parabola(values: Sequence[int]) -> list[float]:
    """Coefficients of 1, L and L² through the values at LENGTHS."""
    (a, b, c), (at_a, at_b, at_c) = LENGTHS, values
    first, second = (at_b - at_a) / (b - a), (at_c - at_b) / (c - b)
    square = (second - first) / (c - a)
    slope = first - square * (a + b)
    return [at_a - slope * a - square * a * a, slope, square]


def _at(curve: Sequence[float], length: int) -> float:
    return curve[0] + curve[1] * length + curve[2] * length * length


def _text(curve: Sequence[float]) -> str:
    terms: list[tuple[Any, str]] = [(curve[2], " L²"), (curve[1], " L"), (curve[0], "")]
    return " + ".join(f"{round(value):,}{power}" for value, power in terms if round(value)) or "0"


STUDY = Study("table2", "Table 2: growth of operations and memory", _find, _page)
