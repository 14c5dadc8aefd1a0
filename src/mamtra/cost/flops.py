"""Floating-point operations by formula, under a stated convention. A multiply-accumulate is two.

Matrix products, attention scores and the recurrence are counted. Norms, activations, softmax, RoPE and the depthwise
convolution never are: together they are below one percent at the sizes of speech models.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from mamtra.cost.shapes import AttentionShape, Blueprint, MambaShape
from mamtra.errors import MamTraError
from mamtra.models.plan import LayerPlan
from mamtra.ops.ssd import MOST_STEPS
from mamtra.runtime.strict_models import ClosedModel

Scores = Literal["full", "causal"]
Head = Literal["none", "last", "all"]
Scan = Literal["none", "steps", "chunks", "9ldn"]


class FlopConvention(ClosedModel):
    """What is counted. The defaults reproduce the TFLOPs column of the paper's Table 3.

    Attributes:
        scores: of a whole sequence of L tokens, ``"full"``: all L x L, as a masked product computes
            them; ``"causal"``: the L (L + 1) / 2 below the mask, as a kernel that skips the rest computes them.
        head: the output over the vocabulary, for no token, for the ``"last"`` one, or for ``"all"``.
        scan: of a whole sequence, ``"none"``: as for a profiler that does not see into the kernel; ``"steps"``: a
            decay, an input and a read-out for every element of the state, 6 operations a token; ``"chunks"``: the
            matrix products of `mamtra.ops.ssd.ssd_chunked`; ``"9ldn"``: 9 x tokens x channels x state size, which is
            customary for the selective scan of Mamba-1. A decode step always counts its 6 operations.
    """

    scores: Scores = "full"
    head: Head = "none"
    scan: Scan = "none"


@dataclass(frozen=True)
class Flops:
    """Operations by purpose.

    Attributes:
        projections: of the mixers.
        feed_forward: of the layers.
        scores: queries by keys, and weights by values.
        scan: of the recurrence.
        head: of the output.
    """

    projections: int = 0
    feed_forward: int = 0
    scores: int = 0
    scan: int = 0
    head: int = 0

    @property
    def total(self) -> int:
        """Sum of all."""
        return sum(asdict(self).values())


def prefill_flops(
    blueprint: Blueprint, plan: LayerPlan, length: int, convention: FlopConvention | None = None, batch: int = 1
) -> Flops:
    """Operations to prefill ``batch`` sequences of ``length`` tokens at once.

    Raises:
        MamTraError: the convention counts a head that the blueprint does not have.
    """
    convention = convention or FlopConvention()
    mixers, dense = _dense(blueprint, plan, batch * length)
    pairs = length * length if convention.scores == "full" else length * (length + 1) // 2
    return Flops(
        **dense,
        scores=sum(4 * batch * pairs * m.inner for m in mixers if isinstance(m, AttentionShape)),
        scan=sum(batch * scan_flops(m, length, convention.scan) for m in mixers if isinstance(m, MambaShape)),
        head=_head(blueprint, convention, batch * {"none": 0, "last": 1, "all": length}[convention.head]),
    )


def decode_flops(
    blueprint: Blueprint, plan: LayerPlan, context: int, convention: FlopConvention | None = None, batch: int = 1
) -> Flops:
    """Operations of one decode step of ``batch`` sequences that are ``context`` tokens long with the new one.

    Raises:
        MamTraError: as `prefill_flops`.
    """
    convention = convention or FlopConvention()
    mixers, dense = _dense(blueprint, plan, batch)
    return Flops(
        **dense,
        scores=sum(4 * batch * context * m.inner for m in mixers if isinstance(m, AttentionShape)),
        scan=sum(batch * scan_flops(m, 1, "steps") for m in mixers if isinstance(m, MambaShape)),
        head=_head(blueprint, convention, 0 if convention.head == "none" else batch),
    )


def scan_flops(mixer: MambaShape, length: int, scan: Scan) -> int:
    """Operations of the recurrence of one mixer over one sequence; ``scan`` as in `FlopConvention`."""
    if scan == "none":
        return 0
    if scan == "steps":
        return 6 * length * mixer.state_elements
    if scan == "9ldn":
        return 9 * length * mixer.inner * mixer.state_size
    chunk = min(mixer.chunk, length)
    chunks = -(-length // chunk)
    padded = chunks * chunk
    inside = 2 * padded * chunk * mixer.heads * (mixer.state_size + mixer.head_dim)  # C B^T, and its product with x
    states = 2 * 2 * padded * mixer.state_elements  # x B^T into the state, and C out of it
    # from every chunk to every other; few chunks carry the state sequentially, without a product
    across = 2 * (chunks + 1) ** 2 * mixer.state_elements if chunks > MOST_STEPS else 0
    return inside + states + across


def even_decode_length(blueprint: Blueprint) -> int | None:
    """Context from which a Mamba layer's decode step takes no more operations than an attention layer's, in tokens.

    None where that is never so.
    """
    attention, mamba = (
        2 * (layer.mixer.projection_weights + layer.feed_forward_weights)
        for layer in (blueprint.attention, blueprint.mamba)
    )
    excess = mamba + scan_flops(blueprint.mamba.mixer, 1, "steps") - attention
    return max(1, -(-excess // (4 * blueprint.attention.mixer.inner)))


def _dense(blueprint: Blueprint, plan: LayerPlan, tokens: int) -> tuple[list[AttentionShape | MambaShape], dict]:
    layers = blueprint.layers(plan)
    projections = 2 * tokens * sum(layer.mixer.projection_weights for layer in layers)
    feed_forward = 2 * tokens * sum(layer.feed_forward_weights for layer in layers)
    return [layer.mixer for layer in layers], {"projections": projections, "feed_forward": feed_forward}


def _head(blueprint: Blueprint, convention: FlopConvention, tokens: int) -> int:
    if convention.head == "none":
        return 0
    if blueprint.head is None:
        raise MamTraError(f"The sizes of {blueprint.name} do not include its head; count without it (--head none).")
    return 2 * tokens * blueprint.hidden * blueprint.head
