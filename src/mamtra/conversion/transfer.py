"""MamTra's transfer of attention weights to Mamba (arXiv 2603.12342, section 2.3), with the origin of every tensor.

Eq. 2 and Eq. 4 of the paper match C with the query, B with the key, x with the value; the output projection stays.
Gate, convolution, step sizes and decays have no counterpart in attention and are initialised by `TransferOptions`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from mamtra.conversion.options import TransferOptions, new_mamba_layers, student_config
from mamtra.models.config import BackboneConfig
from mamtra.models.language_model import LanguageModel
from mamtra.models.mamba import init_dynamics
from mamtra.models.plan import LayerPlan
from mamtra.ops.conv import identity_conv_weight

# silu(GATE_ONE) = 1
GATE_ONE = 1.2784645427610738
NEUTRAL_DECAY = 1e-9

AnyLM = TypeVar("AnyLM", bound=LanguageModel)


@dataclass(frozen=True)
class TensorOrigin:
    """Where a tensor of the student, or a block of its rows, comes from.

    Attributes:
        tensor: parameter name in the student.
        origin: ``copied`` (same values, same role), ``transferred`` (same values, new role), ``folded`` (computed from the
            source) or ``fresh`` (without a source).
        source: parameter name in the teacher, or None.
        rows: first and last + 1 row of a block, None for the whole tensor.
        rule: how the values were made, in words; empty where they are the source's.
    """

    tensor: str
    origin: Literal["copied", "transferred", "folded", "fresh"]
    source: str | None = None
    rows: tuple[int, int] | None = None
    rule: str = ""


def convert_attention_to_mamba(
    teacher: AnyLM, plan: LayerPlan, options: TransferOptions | None = None, *, generator: torch.Generator | None = None
) -> tuple[AnyLM, list[TensorOrigin]]:
    """Make a hybrid student; the teacher is not changed and shares no memory with it.

    Args:
        teacher: model whose layers are attention wherever the plan wants attention.
        plan: as many layers as the teacher has.
        options: initialisation of the new mixers; the defaults of `TransferOptions` when absent.
        generator: random initialisation, layer by layer; seeded with 0 when absent.

    Returns:
        The student, with the teacher's dtype (decays and steps float32) and device, and the origin of each of its
        tensors.

    Raises:
        MamTraError: plan or options do not fit the teacher.
    """
    options = options or TransferOptions()
    config = student_config(teacher.config, plan, options)
    generator = generator or torch.Generator().manual_seed(0)
    weights = teacher.state_dict()
    new = new_mamba_layers(teacher.config, plan)
    replaced = tuple(attention_prefix(i) for i in new)
    kept = {name: value.clone() for name, value in weights.items() if not name.startswith(replaced)}
    origins = [TensorOrigin(name, "copied", name) for name in kept]
    tensors = kept
    for i in new:
        prefix = attention_prefix(i)
        layer = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        made, notes = mixer_from_attention(config, layer, options, generator)
        tensors |= {mamba_prefix(i) + name: value for name, value in made.items()}
        origins += [placed(note, i) for note in notes]
    with torch.device("meta"):
        student = type(teacher)(config)
    student.load_state_dict(tensors, strict=True, assign=True)
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    return student.train(teacher.training), origins


def attention_prefix(layer: int) -> str:
    """Prefix of the parameter names of a layer's attention."""
    return f"model.layers.{layer}.self_attn."


def mamba_prefix(layer: int) -> str:
    """Prefix of the parameter names of a layer's mixer."""
    return f"model.layers.{layer}.mamba."


def placed(note: TensorOrigin, layer: int) -> TensorOrigin:
    """An origin from `mixer_from_attention`, with names as in the whole model."""
    source = note.source and attention_prefix(layer) + note.source
    return replace(note, tensor=mamba_prefix(layer) + note.tensor, source=source)


def mixer_from_attention(
    config: BackboneConfig, attention: Mapping[str, Tensor], options: TransferOptions, generator: torch.Generator
) -> tuple[dict[str, Tensor], list[TensorOrigin]]:
    """One layer of the transfer.

    Args:
        config: of the student.
        attention: the parameters of one attention layer, by their names in it.
        options: initialisation of the mixer.
        generator: random initialisation, on the CPU.

    Returns:
        The parameters of the mixer and their origins, by their names in it. Matrices and biases have dtype
        and device of the attention, ``dt_bias``, ``A_log`` and ``D`` are float32.
    """
    made, notes = _input_projection(config, attention, options, generator)
    conv, conv_notes = _convolution(config, attention, options, generator)
    dynamics, dynamics_notes = _dynamics(config, options, generator)
    like = attention["o_proj.weight"]
    made |= conv | {name: value.to(like.device) for name, value in dynamics.items()}
    made["norm.weight"] = like.new_ones(config.query_size)
    notes += [*conv_notes, *dynamics_notes, TensorOrigin("norm.weight", "fresh", rule="ones")]
    if options.init == "transfer":
        made["out_proj.weight"] = like.clone()
        notes.append(TensorOrigin("out_proj.weight", "transferred", "o_proj.weight"))
    else:
        made["out_proj.weight"], rule = _random_projection(options, *like.shape, generator)
        made["out_proj.weight"] = made["out_proj.weight"].to(like)
        notes.append(TensorOrigin("out_proj.weight", "fresh", rule=rule))
    return made, notes


def _input_projection(
    config: BackboneConfig, attention: Mapping[str, Tensor], options: TransferOptions, generator: torch.Generator
) -> tuple[dict[str, Tensor], list[TensorOrigin]]:
    """Rows ``[z | x | B | C | dt]``, and their biases where the student's mixers have them."""
    like = attention["q_proj.weight"]
    kept_bias = options.qkv_bias == "keep" and options.init == "transfer" and "q_proj.bias" in attention
    weights, biases, notes = [], [], []
    start = 0
    for block, rows in (
        ("z", config.query_size),
        ("v_proj", config.key_value_size),
        ("k_proj", config.key_value_size),
        ("q_proj", config.query_size),
        ("dt", config.num_attention_heads),
    ):
        span = (start, start := start + rows)
        origin, source, bias_rule = "fresh", None, "zero"
        bias = like.new_zeros(rows)
        if block in ("z", "dt"):
            neutral = options.gate_init == "neutral" if block == "z" else options.dt_init == "one"
            rule = "zero" if neutral else "normal, standard deviation 0.02"
            weight = torch.zeros(rows, config.hidden_size) if neutral else _normal(rows, config.hidden_size, generator)
            if block == "z" and neutral:
                bias, bias_rule = like.new_full((rows,), GATE_ONE), f"constant {GATE_ONE:.4g}: SiLU gives 1"
        elif options.init == "transfer":
            origin, source, rule = "transferred", block, ""
            weight = attention[f"{block}.weight"]
        else:
            weight, rule = _random_projection(options, rows, config.hidden_size, generator)
        weights.append(weight.to(like))
        notes.append(TensorOrigin("in_proj.weight", origin, source and f"{source}.weight", span, rule))
        if not config.mamba_qkv_bias:
            continue
        if source and kept_bias:
            bias = attention[f"{block}.bias"]
            notes.append(TensorOrigin("in_proj.bias", "transferred", f"{block}.bias", span))
        else:
            notes.append(TensorOrigin("in_proj.bias", "fresh", rows=span, rule=bias_rule))
        biases.append(bias)
    made = {"in_proj.weight": torch.cat(weights)}
    return (made | {"in_proj.bias": torch.cat(biases)} if biases else made), notes


def _convolution(
    config: BackboneConfig, attention: Mapping[str, Tensor], options: TransferOptions, generator: torch.Generator
) -> tuple[dict[str, Tensor], list[TensorOrigin]]:
    """Taps and bias of the convolution over x, B, C."""
    like = attention["q_proj.weight"]
    channels, taps = config.mamba_conv_size, config.mamba_conv_kernel
    if options.conv_init == "identity":
        weight, bias = identity_conv_weight(channels, taps).unsqueeze(1), torch.zeros(channels)
        rule, bias_rule = "identity: last tap 1, others 0", "zero"
    else:
        bound = taps**-0.5
        weight = torch.empty(channels, 1, taps).uniform_(-bound, bound, generator=generator)
        bias = torch.empty(channels).uniform_(-bound, bound, generator=generator)
        rule = bias_rule = f"uniform within {bound:.4g}"
    notes = [TensorOrigin("conv1d.weight", "fresh", rule=rule)]
    if options.qkv_bias == "fold" and options.init == "transfer" and "q_proj.bias" in attention:
        sources = [f"{name}_proj.bias" for name in "vkq"]
        folded = torch.cat([attention[name] for name in sources])
        bias = bias.to(like.device) + folded.float() * weight.sum((1, 2)).to(like.device)
        start = 0
        for name in sources:
            rows = (start, start := start + len(attention[name]))
            words = "times the sum of the taps" + ("" if bias_rule == "zero" else f", plus {bias_rule}")
            notes.append(TensorOrigin("conv1d.bias", "folded", name, rows, words))
    else:
        notes.append(TensorOrigin("conv1d.bias", "fresh", rule=bias_rule))
    return {"conv1d.weight": weight.to(like), "conv1d.bias": bias.to(like)}, notes


def _dynamics(
    config: BackboneConfig, options: TransferOptions, generator: torch.Generator
) -> tuple[dict[str, Tensor], list[TensorOrigin]]:
    """Step, decay rate and skip of each head, float32."""
    a_init = options.a_init or ("one" if config.mamba_form == "discrete" else "mamba2")
    heads = config.num_attention_heads
    drawn = init_dynamics(heads, generator, "mamba2" if a_init in ("mamba2", "slow") else "discrete")
    a_rules = {
        "mamba2": "logarithm of a log-uniform draw from [1, 16]",
        "slow": "logarithm of a log-uniform draw from [1/64, 1/4]",
        "one": "zero: rate 1",
        "neutral": f"logarithm of {NEUTRAL_DECAY:g}",
    }
    dt_rules = {"mamba2": "inverse softplus of a log-uniform draw from [0.001, 0.1]", "one": "inverse softplus of 1"}
    if a_init == "slow":
        drawn["A_log"] -= math.log(64.0)
    elif a_init == "neutral":
        drawn["A_log"].fill_(math.log(NEUTRAL_DECAY))
    if options.dt_init == "one":
        drawn["dt_bias"].fill_(math.log(math.expm1(1.0)))
    if options.d_init == "zero":
        drawn["D"].zero_()
    notes = [
        TensorOrigin("dt_bias", "fresh", rule=dt_rules[options.dt_init]),
        TensorOrigin("A_log", "fresh", rule=a_rules[a_init]),
        TensorOrigin("D", "fresh", rule="ones" if options.d_init == "one" else "zero"),
    ]
    return drawn, notes


def _random_projection(
    options: TransferOptions, rows: int, columns: int, generator: torch.Generator
) -> tuple[Tensor, str]:
    """A randomly initialised projection (rows, columns), and the rule in words."""
    bound = math.sqrt(6 / (rows + columns if options.init == "xavier" else columns))
    drawn = torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)
    return drawn, f"{options.init.capitalize()}: uniform within {bound:.4g}"


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=generator).mul_(0.02)
