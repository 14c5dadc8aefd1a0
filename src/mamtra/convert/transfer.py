"""Attention weights become Mamba weights: MamTra's transfer (arXiv 2603.12342, 2.3), with a record of every tensor.

Eq. 2 and Eq. 4 of the paper match C with the query, B with the key, x with the value; the output projection stays.
Gate, convolution, step sizes and decays have no counterpart in attention and get the initialisation described below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.mamba import draw_dynamics
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.conv import identity_conv_weight

# silu(GATE_ONE) = 1
GATE_ONE = 1.2784645427610738


@dataclass(frozen=True)
class TensorOrigin:
    """Where a tensor of the student, or a block of its rows, comes from.

    Attributes:
        tensor: parameter name in the student.
        rows: first and last + 1 row where the record is about a block, else None.
        origin: ``copied`` (bit-identical, same role), ``transferred`` (bit-identical, new role) or ``initialised``.
        source: parameter name in the teacher, or None.
        rule: the initialisation in words, empty for copies.
    """

    tensor: str
    origin: Literal["copied", "transferred", "initialised"]
    source: str | None = None
    rows: tuple[int, int] | None = None
    rule: str = ""


def convert_attention_to_mamba(
    teacher: SpeechLM,
    plan: LayerPlan,
    *,
    conv_init: Literal["identity", "default"] = "identity",
    gate_init: Literal["small", "neutral"] = "small",
    keep_bias: bool = True,
    generator: torch.Generator | None = None,
) -> tuple[SpeechLM, list[TensorOrigin]]:
    """Make a hybrid student; the teacher is left as it is and shares no memory with it.

    In every layer that the plan turns into Mamba: C rows <- q_proj, B rows <- k_proj, x rows <- v_proj, out_proj <-
    o_proj. The dt rows are normal with standard deviation 0.02, so that steps begin almost independent of the input, at
    dt_bias: the inverse softplus of a log-uniform draw from [0.001, 0.1]. A is log-uniform in [1, 16]; D and the norm
    are ones.

    Args:
        teacher: model whose layers are attention wherever the plan wants attention.
        plan: as many layers as the teacher has.
        conv_init: ``identity`` lets x, B, C through unmixed (last tap 1, bias 0); ``default`` draws taps and bias as
            torch's Conv1d and MambaInLlama do.
        gate_init: ``small`` draws the gate rows normal with standard deviation 0.02, bias 0, close to MambaInLlama; the
            norm behind the gate restores its scale, but the gate's sign varies with the input. ``neutral`` sets the
            rows to zero and their bias so that SiLU gives 1: the layer begins as normalised linear attention. It needs
            ``keep_bias``.
        keep_bias: q, k, v biases become bias rows of C, B, x, with zeros for z and dt; without it they are dropped.
        generator: source of the draws; seeded with 0 when absent.

    Returns:
        The student, with the teacher's dtype (decays and steps float32) and device, and the origin of each of its
        tensors.

    Raises:
        MamTraError: the plan does not fit the teacher, or the options contradict each other.
    """
    old = teacher.config
    if plan.num_layers != old.num_hidden_layers:
        raise MamTraError(
            f"The plan has {plan.num_layers} layers but the model {old.num_hidden_layers}; make one for this model."
        )
    gone = [i for i in plan.attention_layers if old.layer_types[i] != "full_attention"]
    if gone:
        raise MamTraError(f"Layers {gone} are Mamba already and cannot become attention; keep them Mamba in the plan.")
    if gate_init == "neutral" and not keep_bias:
        raise MamTraError("A neutral gate is made by a bias; use keep_bias=True or gate_init='small'.")
    kept_mamba = set(plan.mamba_layers) & set(old.plan.mamba_layers)
    if kept_mamba and keep_bias != old.mamba_qkv_bias:
        raise MamTraError("The model's Mamba layers were made with another keep_bias; use the same one.")
    config = old.model_copy(update={"layer_types": plan.layer_types, "mamba_qkv_bias": keep_bias})
    generator = generator or torch.Generator().manual_seed(0)

    weights = teacher.state_dict()
    tensors: dict[str, Tensor] = {}
    origins: list[TensorOrigin] = []
    new = [i for i in plan.mamba_layers if i not in kept_mamba]
    replaced = tuple(f"model.layers.{i}.self_attn." for i in new)
    for name, value in weights.items():
        if not name.startswith(replaced):
            tensors[name] = value.clone()
            origins.append(TensorOrigin(name, "copied", name))
    for i in new:
        layer = {
            name.removeprefix(f"model.layers.{i}.self_attn."): w
            for name, w in weights.items()
            if name.startswith(f"model.layers.{i}.self_attn.")
        }
        made, notes = _mixer_from_attention(config, layer, conv_init, gate_init, generator)
        tensors |= {f"model.layers.{i}.mamba.{name}": value for name, value in made.items()}
        for note in notes:
            source = note.source and f"model.layers.{i}.self_attn.{note.source}"
            origins.append(
                TensorOrigin(f"model.layers.{i}.mamba.{note.tensor}", note.origin, source, note.rows, note.rule)
            )

    with torch.device("meta"):
        student = SpeechLM(config)
    student.load_state_dict(tensors, strict=True, assign=True)
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    return student.train(teacher.training), origins


def _mixer_from_attention(
    config: SpeechLMConfig,
    attention: dict[str, Tensor],
    conv_init: str,
    gate_init: str,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], list[TensorOrigin]]:
    """Parameters of one mixer and their origins, names relative to the mixer."""
    like = attention["q_proj.weight"]
    inner, heads = config.query_size, config.num_attention_heads
    channels, taps = config.mamba_conv_size, config.mamba_conv_kernel
    notes: list[TensorOrigin] = []

    def draw(rows: int) -> Tensor:
        return torch.randn(rows, config.hidden_size, generator=generator).mul_(0.02).to(like)

    if gate_init == "neutral":
        gate, gate_bias, gate_rule = like.new_zeros(inner, config.hidden_size), GATE_ONE, "zero"
    else:
        gate, gate_bias, gate_rule = draw(inner), 0.0, "normal, standard deviation 0.02"
    parts = {
        "z": (gate, like.new_full((inner,), gate_bias), None, gate_rule),
        "x": (attention["v_proj.weight"], attention["v_proj.bias"], "v_proj", ""),
        "B": (attention["k_proj.weight"], attention["k_proj.bias"], "k_proj", ""),
        "C": (attention["q_proj.weight"], attention["q_proj.bias"], "q_proj", ""),
        "dt": (draw(heads), like.new_zeros(heads), None, "normal, standard deviation 0.02"),
    }
    made = {"in_proj.weight": torch.cat([part[0] for part in parts.values()])}
    if config.mamba_qkv_bias:
        made["in_proj.bias"] = torch.cat([part[1] for part in parts.values()])
    start = 0
    for block, bias, source, rule in parts.values():
        rows = (start, start := start + block.shape[0])
        for kind in ("weight", "bias") if config.mamba_qkv_bias else ("weight",):
            if source:
                notes.append(TensorOrigin(f"in_proj.{kind}", "transferred", f"{source}.{kind}", rows))
            else:
                words = rule if kind == "weight" else f"constant {bias[0].item():.4g}"
                notes.append(TensorOrigin(f"in_proj.{kind}", "initialised", None, rows, words))

    if conv_init == "identity":
        made["conv1d.weight"] = identity_conv_weight(channels, taps).unsqueeze(1).to(like)
        made["conv1d.bias"] = like.new_zeros(channels)
        conv_rule = "identity: last tap 1, rest and bias 0"
    else:
        bound = taps**-0.5
        made["conv1d.weight"] = torch.empty(channels, 1, taps).uniform_(-bound, bound, generator=generator).to(like)
        made["conv1d.bias"] = torch.empty(channels).uniform_(-bound, bound, generator=generator).to(like)
        conv_rule = "uniform in +-1/sqrt(taps)"
    notes += [TensorOrigin(f"conv1d.{kind}", "initialised", rule=conv_rule) for kind in ("weight", "bias")]

    made |= {name: value.to(like.device) for name, value in draw_dynamics(heads, generator).items()}
    notes.append(
        TensorOrigin("dt_bias", "initialised", rule="inverse softplus of a log-uniform draw from [0.001, 0.1]")
    )
    notes.append(TensorOrigin("A_log", "initialised", rule="logarithm of a log-uniform draw from [1, 16]"))
    notes.append(TensorOrigin("D", "initialised", rule="ones"))
    made["norm.weight"] = like.new_ones(inner)
    notes.append(TensorOrigin("norm.weight", "initialised", rule="ones"))
    made["out_proj.weight"] = attention["o_proj.weight"].clone()
    notes.append(TensorOrigin("out_proj.weight", "transferred", "o_proj.weight"))
    return made, notes
