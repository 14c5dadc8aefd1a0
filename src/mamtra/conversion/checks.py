"""Check that a converted layer computes the linear attention of the paper, Eq. 4 of arXiv 2603.12342."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.conversion.options import TransferOptions
from mamtra.conversion.transfer import GATE_ONE
from mamtra.models.config import BackboneConfig
from mamtra.models.mamba import MambaMixer
from mamtra.models.positions import Positions
from mamtra.ops.conv import identity_conv_weight

LIMIT = 1e-5
LENGTH = 32


@torch.no_grad()
def linear_attention_error(
    config: BackboneConfig,
    mixer: Mapping[str, Tensor],
    attention: Mapping[str, Tensor],
    options: TransferOptions,
    *,
    seed: int = 0,
) -> float:
    """Run a converted mixer with all parts neutral that attention does not have, and compare with Eq. 4.

    Of the mixer the rows and biases of x, B and C, the convolution where it is the identity, and the output projection are
    used as they are. Gate and steps are 1, there is no decay, skip, norm, or SiLU after the convolution. The factor
    1/sqrt(d) is left out of Eq. 4, since the norm of each head cancels it.

    Args:
        config: of the student.
        mixer: parameters of one mixer, float32, by their names in it.
        attention: parameters of the attention that it was made from, likewise.
        options: with which it was made; ``init`` is ``"transfer"``.
        seed: of the inputs.

    Returns:
        Largest absolute difference over 32 positions of normal inputs, relative to the largest output. The mixer runs
        in float32, Eq. 4 in float64.
    """
    biased = "q_proj.bias" in attention and options.qkv_bias != "drop"
    inputs = torch.randn(1, LENGTH, config.hidden_size, generator=torch.Generator().manual_seed(seed))
    neutral = _neutral(config, mixer, attention if biased else {}, options)
    y = neutral(inputs, Positions.from_zero(LENGTH, config, inputs.device))

    def project(name: str) -> Tensor:
        bias = attention[f"{name}.bias"].double() if biased else None
        return F.linear(inputs.double(), attention[f"{name}.weight"].double(), bias).unflatten(
            -1, (-1, config.head_dim)
        )

    repeats = config.num_attention_heads // config.num_key_value_heads
    q, k, v = project("q_proj"), *(project(name).repeat_interleave(repeats, 2) for name in ("k_proj", "v_proj"))
    memory = torch.zeros(1, config.num_attention_heads, config.head_dim, config.head_dim, dtype=torch.float64)
    steps = []
    for t in range(LENGTH):
        memory = memory + k[:, t, :, :, None] * v[:, t, :, None, :]
        steps.append((q[:, t, :, :, None] * memory).sum(2))
    expected = F.linear(torch.stack(steps, 1).flatten(2), attention["o_proj.weight"].double())
    return float((y - expected).abs().max() / expected.abs().max())


def _neutral(
    config: BackboneConfig, mixer: Mapping[str, Tensor], biases: Mapping[str, Tensor], options: TransferOptions
) -> MambaMixer:
    """The mixer with gate, steps, decay, skip and norm taken out."""
    with torch.device("meta"):
        module = MambaMixer(config.model_copy(update={"mamba_form": "discrete", "mamba_qkv_bias": True}))
    inner, heads = config.query_size, config.num_attention_heads
    rows = sum(module.in_sizes)
    weight = mixer["in_proj.weight"].clone()
    weight[:inner] = weight[-heads:] = 0
    bias = mixer.get("in_proj.bias", torch.zeros(rows)).clone()
    bias[:inner], bias[-heads:] = GATE_ONE, 0
    conv = {"conv1d.weight": mixer["conv1d.weight"], "conv1d.bias": mixer["conv1d.bias"]}
    if options.conv_init != "identity":
        folded = options.qkv_bias == "fold" and biases
        conv = {
            "conv1d.weight": identity_conv_weight(config.mamba_conv_size, config.mamba_conv_kernel).unsqueeze(1),
            "conv1d.bias": torch.cat([biases[f"{name}_proj.bias"] for name in "vkq"])
            if folded
            else torch.zeros(config.mamba_conv_size),
        }
    module.load_state_dict(
        {
            "in_proj.weight": weight,
            "in_proj.bias": bias,
            **conv,
            "dt_bias": torch.full((heads,), 1.0).expm1().log(),
            "A_log": torch.full((heads,), -torch.inf),
            "D": torch.zeros(heads),
            "norm.weight": torch.ones(inner),
            "out_proj.weight": mixer["out_proj.weight"],
        },
        assign=True,
    )
    module.norm.weight = None
    return module
