"""The k largest log-probabilities of a teacher's distribution, and the exact mass of all other tokens as one class.

Between such distributions a divergence is a lower bound of the true one (merging classes never raises it), and equal to it
where k + 1 classes are all there are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.distill.losses import masked_mean, skew_kl_terms

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
    """The k largest entries of logits (..., V); ids are int16 where V allows it."""
    log_p, ids = F.log_softmax(logits.float(), -1).topk(min(k, logits.shape[-1]))
    return TopK(ids.to(torch.int16 if logits.shape[-1] <= 2**15 else torch.int32), log_p, _log_rest(log_p))


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
    log_q = torch.cat((mine, _log_rest(mine)[..., None]), -1)
    log_p = torch.cat((teacher.log_p.float(), teacher.rest.float()[..., None]), -1)
    log_from, log_other = (log_p, log_q) if direction == "forward" else (log_q, log_p)
    return masked_mean(skew_kl_terms(log_from, log_other, alpha).sum(-1), valid)


def _log_rest(log_p: Tensor) -> Tensor:
    """Log of the mass that is not in log-probabilities (..., k); the difference from 1 is taken in float64."""
    mass = log_p.exp().sum(-1, dtype=torch.float64)
    return torch.log((1 - mass).clamp(min=_LEAST)).float()
