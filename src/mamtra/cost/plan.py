"""What a layer plan costs, before anything is trained: `mamtra.plan` and the verb of the same name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, get_args

from mamtra.conversion.choose_plan import choose_plan
from mamtra.cost.flops import FlopConvention, Head, Scan, Scores, even_decode_length
from mamtra.cost.layer_strip import strips_svg
from mamtra.cost.memory import CacheTypes, FloatType, break_even_length
from mamtra.cost.presets import find_blueprint
from mamtra.cost.shapes import Blueprint
from mamtra.cost.summary import PlanSummary, summarise
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import check_destination, write_text

DEFAULT_MODEL = "cosyvoice2"
MOST = {"layers": 10_000, "context": 10**12, "batch": 10**9}
_CHOICES = {"scores": Scores, "head": Head, "scan": Scan, "cache_dtype": FloatType, "state_dtype": FloatType}


@dataclass(frozen=True)
class PlanCost:
    """A layer plan of a model, and what it costs.

    Attributes:
        blueprint: sizes of the model.
        plan: the layers.
        context: tokens of a sequence.
        batch: sequences.
        convention: what counts as an operation.
        types: of cache and states.
    """

    blueprint: Blueprint
    plan: LayerPlan
    context: int
    batch: int
    convention: FlopConvention
    types: CacheTypes

    @cached_property
    def summary(self) -> PlanSummary:
        """Parameters, FLOPs and bytes of the plan."""
        return self._summary(self.plan)

    @cached_property
    def all_attention(self) -> PlanSummary:
        """The same with attention in all layers."""
        return self._summary(LayerPlan.from_ratio(self.plan.num_layers, "1:0"))

    @property
    def break_even_tokens(self) -> int | None:
        """Context from which on cache and state are smaller than the cache of attention in all layers."""
        return break_even_length(self.blueprint, self.plan, self.types)

    @property
    def origin(self) -> str:
        """Strategy and ratio in words."""
        if not self.plan.mamba_layers:
            return "all attention"
        return "explicit" if self.plan.ratio is None else f"{self.plan.strategy} {self.plan.ratio}"

    @property
    def counts(self) -> str:
        """Numbers of layers in words."""
        plan = self.plan
        return f"{plan.num_layers} layers, {len(plan.attention_layers)} attention, {len(plan.mamba_layers)} Mamba"

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        plan, tokens, rate = self.plan, self.break_even_tokens, self.blueprint.rate
        return {
            "model": self.blueprint.name,
            "plan": str(plan),
            "strategy": plan.strategy,
            "ratio": plan.ratio,
            "layer_types": list(plan.layer_types),
            "attention_layers": list(plan.attention_layers),
            "mamba_layers": list(plan.mamba_layers),
            "context": self.context,
            "batch": self.batch,
            **asdict(self.summary),
            "rate_hz": rate,
            "break_even_tokens": tokens,
            "break_even_seconds": None if tokens is None else tokens / rate,
            "even_decode_tokens": even_decode_length(self.blueprint) if plan.mamba_layers else None,
            "all_attention": asdict(self.all_attention),
            "convention": self.convention.model_dump() | {"flops_per_mac": 2},
            "types": self.types.model_dump(),
        }

    @checked
    def save_svg(self, path: str | os.PathLike) -> None:
        """Draw the layers to an SVG file.

        Raises:
            MamTraError: the file has another suffix or cannot be written.
        """
        check_svg(path)
        write_text(path, strips_svg([(self.origin, self.plan)], f"{self.blueprint.name}: {self.counts}"))

    def _summary(self, plan: LayerPlan) -> PlanSummary:
        return summarise(self.blueprint, plan, self.context, self.batch, self.convention, self.types)


@checked
def plan(
    model: str | os.PathLike = DEFAULT_MODEL,
    ratio: str | None = None,
    strategy: str | None = None,
    *,
    layers: int | None = None,
    attention: Sequence[int] | None = None,
    ranking: str | os.PathLike | None = None,
    context: int = 2048,
    batch: int = 1,
    rate: float | None = None,
    scores: str = "full",
    head: str = "none",
    scan: str = "none",
    cache_dtype: str = "bfloat16",
    state_dtype: str = "float32",
) -> PlanCost:
    """Choose a layer plan and count what it costs; no weights are read.

        mamtra.plan("cosyvoice2", "1:3").summary.cache_bytes

    Args:
        model: see `mamtra.cost.presets.find_blueprint`.
        ratio: attention to Mamba layers, "T:M"; the model's own layers by default.
        strategy: see `LayerPlan.from_ratio`; "block-beg" by default.
        layers: number of layers; the model's own by default.
        attention: instead of a ratio, the layers that keep attention.
        ranking: file of `mamtra rank`, for the importance strategies.
        context: tokens of a sequence.
        batch: sequences.
        rate: tokens per second of speech, Hz; the model's own by default.
        scores: FLOPs: "full" or "causal" attention scores.
        head: FLOPs: output layer for "none", "last" or "all" tokens.
        scan: FLOPs of the prefill's scan: "none", "steps", "chunks" or "9ldn".
        cache_dtype: "bfloat16", "float16" or "float32", of keys and values.
        state_dtype: the same, of the recurrent states.

    Raises:
        MamTraError: there is no such model, or a choice is unknown or contradicts another.
    """
    words = {"scores": scores, "head": head, "scan": scan, "cache_dtype": cache_dtype, "state_dtype": state_dtype}
    for name, word in words.items():
        known = get_args(_CHOICES[name])
        if word not in known:
            raise MamTraError(f"{name} {word!r} is unknown; choose one of {', '.join(known)}.")
    if rate is not None and not 0 < rate < 1e6:
        raise MamTraError(f"rate is the number of tokens in a second of speech, such as 25, not {rate}.")
    for name, number in {"layers": layers, "context": context, "batch": batch}.items():
        if number is not None and not 1 <= number <= MOST[name]:
            raise MamTraError(f"{name} is a number from 1 to {MOST[name]:,}, not {number:,}.")
    blueprint = find_blueprint(model)
    if rate is not None:
        blueprint = replace(blueprint, rate=rate)
    own = blueprint.plan
    number = own.num_layers if layers is None else layers
    default = own if number == own.num_layers else LayerPlan.from_ratio(number, "1:0")
    return PlanCost(
        blueprint,
        choose_plan(number, ratio, strategy, attention, ranking, default=default),
        context,
        batch,
        FlopConvention(scores=scores, head=head, scan=scan),
        CacheTypes(cache=cache_dtype, state=state_dtype),
    )


def check_svg(path: str | os.PathLike) -> None:
    """Refuse a path that no SVG file can be written to.

    Raises:
        MamTraError: another suffix, a folder, or no folder to be in.
    """
    if not str(path).endswith(".svg"):
        raise MamTraError(f"The picture is a .svg file, not {os.path.basename(path)!r}.")
    check_destination(path)
