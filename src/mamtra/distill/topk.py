"""A teacher's distribution by its largest entries: k log-probabilities and the exact mass of all the others as one class.

Between such distributions a divergence is a lower bound of the true one (merging classes never raises it), and equal to it
where k + 1 classes are all there are.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.distill.losses import masked_mean

_LEAST = 1e-12


class TopK(NamedTuple):
    """The distribution at each of some positions.

    Attributes:
        ids: (..., k) integer.
        log_p: (..., k) float, their log-probabilities.
        rest: (...) float, log of the mass of all other ids.
    """

    ids: Tensor
    log_p: Tensor
    rest: Tensor


def top_k_of(logits: Tensor, k: int) -> TopK:
    """What is kept of logits (..., V); ids are int16 where V allows it."""
    log_p, ids = F.log_softmax(logits.float(), -1).topk(min(k, logits.shape[-1]))
    rest = torch.log((1 - log_p.exp().sum(-1, dtype=torch.float64)).clamp(min=_LEAST)).float()
    return TopK(ids.to(torch.int16 if logits.shape[-1] <= 2**15 else torch.int32), log_p, rest)


def topk_skew_kl(
    student: Tensor,
    teacher: TopK,
    valid: Tensor,
    *,
    alpha: float = 0.1,
    direction: Literal["forward", "reverse"] = "forward",
) -> Tensor:
    """`mamtra.distill.losses.skew_kl` over the k classes and the rest.

    Args:
        student: logits (..., V).
        teacher: its distribution at these positions.
        valid: (...) bool.
        alpha: see `skew_kl`.
        direction: see `skew_kl`.
    """
    log_all = F.log_softmax(student.float(), -1)
    mine = log_all.gather(-1, teacher.ids.long())
    others = torch.log((1 - mine.exp().sum(-1)).clamp(min=_LEAST))
    log_q = torch.cat((mine, others[..., None]), -1)
    log_p = torch.cat((teacher.log_p.float(), teacher.rest.float()[..., None]), -1)
    log_from, log_other = (log_p, log_q) if direction == "forward" else (log_q, log_p)
    log_mix = log_other
    if alpha > 0:
        log_mix = torch.logaddexp(log_from + math.log(alpha), log_other + math.log1p(-alpha))
    return masked_mean((log_from.exp() * (log_from - log_mix)).sum(-1), valid)
