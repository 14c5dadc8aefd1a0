"""Bytes of the decode state, by formula: keys and values, which grow, and recurrent states, which do not."""

from __future__ import annotations

from typing import Literal

from mamtra.cost.shapes import Blueprint
from mamtra.models.plan import LayerPlan
from mamtra.runtime.strict_models import ClosedModel

GIB = 2**30
FloatType = Literal["float32", "bfloat16", "float16"]
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class CacheTypes(ClosedModel):
    """Number types of cache and states. The defaults are those of `mamtra.models.state.DecodeState`.

    Attributes:
        cache: of keys, values, and the inputs of the convolutions.
        state: of the recurrent states.
    """

    cache: FloatType = "bfloat16"
    state: FloatType = "float32"


def kv_bytes_per_token(blueprint: Blueprint, plan: LayerPlan, types: CacheTypes | None = None) -> int:
    """Growth of one stream's cache by one token."""
    types = types or CacheTypes()
    return len(plan.attention_layers) * blueprint.attention.mixer.kv_elements * _BYTES[types.cache]


def state_bytes(blueprint: Blueprint, plan: LayerPlan, types: CacheTypes | None = None) -> int:
    """Recurrent and convolution states of one stream, whatever its length."""
    types = types or CacheTypes()
    mixer = blueprint.mamba.mixer
    of_a_layer = mixer.state_elements * _BYTES[types.state] + mixer.conv_elements * _BYTES[types.cache]
    return len(plan.mamba_layers) * of_a_layer


def stream_bytes(blueprint: Blueprint, plan: LayerPlan, context: int, types: CacheTypes | None = None) -> int:
    """Cache and states of one stream after ``context`` tokens."""
    return context * kv_bytes_per_token(blueprint, plan, types) + state_bytes(blueprint, plan, types)


def streams_per_gib(blueprint: Blueprint, plan: LayerPlan, context: int, types: CacheTypes | None = None) -> int:
    """Streams of ``context`` tokens whose cache and states fit into one GiB, without weights."""
    return GIB // stream_bytes(blueprint, plan, context, types)


def break_even_length(blueprint: Blueprint, plan: LayerPlan, types: CacheTypes | None = None) -> int | None:
    """Context from which on the plan needs no more bytes than attention in all layers; None without Mamba layers.

    The number of Mamba layers does not matter: each on its own breaks even there.
    """
    if not plan.mamba_layers:
        return None
    saved = len(plan.mamba_layers) * kv_bytes_per_token(blueprint, LayerPlan.explicit(1, [0]), types)
    return -(-state_bytes(blueprint, plan, types) // saved)
