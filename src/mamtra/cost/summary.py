"""All figures of one layer plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mamtra.cost.flops import FlopConvention, decode_flops, prefill_flops
from mamtra.cost.memory import CacheTypes, kv_bytes_per_token, state_bytes, stream_bytes, streams_per_gib
from mamtra.cost.shapes import Blueprint
from mamtra.models.plan import LayerPlan

CURVE = (128, 512, 2048, 8192, 32768, 131072)
"""Contexts of the cache curve, tokens."""


@dataclass(frozen=True)
class PlanSummary:
    """Costs of a plan.

    Attributes:
        params: parameters, tables and head included.
        prefill_tflops: prefill of ``batch`` sequences of ``context`` tokens, 1e12 operations.
        prefill_parts: the same by `mamtra.cost.flops.Flops`.
        decode_mflops: one decode step of ``batch`` sequences at ``context``, 1e6 operations.
        cache_bytes: keys and values of ``batch`` sequences of ``context`` tokens.
        state_bytes: recurrent and convolution states of ``batch`` sequences, whatever their length.
        cache_bytes_per_token: growth of one sequence's cache.
        streams_per_gib: sequences of ``context`` tokens whose cache and state fit into 2**30 bytes.
        cache_curve: context and cache and state together, bytes, of ``batch`` sequences.
    """

    params: int
    prefill_tflops: float
    prefill_parts: dict[str, float]
    decode_mflops: float
    cache_bytes: int
    state_bytes: int
    cache_bytes_per_token: int
    streams_per_gib: int
    cache_curve: list[tuple[int, int]]


def summarise(
    blueprint: Blueprint,
    plan: LayerPlan,
    context: int,
    batch: int = 1,
    convention: FlopConvention | None = None,
    types: CacheTypes | None = None,
) -> PlanSummary:
    """Count everything.

    Raises:
        MamTraError: see `prefill_flops`.
    """
    prefill = prefill_flops(blueprint, plan, context, convention, batch)
    per_token = kv_bytes_per_token(blueprint, plan, types)
    return PlanSummary(
        params=blueprint.parameters(plan),
        prefill_tflops=prefill.total / 1e12,
        prefill_parts={part: value / 1e12 for part, value in asdict(prefill).items()},
        decode_mflops=decode_flops(blueprint, plan, context, convention, batch).total / 1e6,
        cache_bytes=batch * context * per_token,
        state_bytes=batch * state_bytes(blueprint, plan, types),
        cache_bytes_per_token=per_token,
        streams_per_gib=streams_per_gib(blueprint, plan, context, types),
        cache_curve=[(length, batch * stream_bytes(blueprint, plan, length, types)) for length in CURVE],
    )
