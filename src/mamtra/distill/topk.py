"""The k largest log-probabilities of a teacher's distribution, and the exact mass of all other tokens as one class.

Between such distributions a divergence is a lower bound of the true one (merging classes never raises it), and equal to it
where k + 1 classes are all there are.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.distill.losses import masked_mean, skew_kl_terms

_LEAST = math.log(1e-12)


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
    log_all = F.log_softmax(logits.float(), -1)
    log_p, ids = log_all.topk(min(k, logits.shape[-1]))
    return TopK(ids.to(torch.int16 if logits.shape[-1] <= 2**15 else torch.int32), log_p, _log_rest(log_all, ids))


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
    ids = teacher.ids.long()
    log_q = torch.cat((log_all.gather(-1, ids), _log_rest(log_all, ids)[..., None]), -1)
    log_p = torch.cat((teacher.log_p.float(), teacher.rest.float()[..., None]), -1)
    log_from, log_other = (log_p, log_q) if direction == "forward" else (log_q, log_p)
    return masked_mean(skew_kl_terms(log_from, log_other, alpha).sum(-1), valid)


def _log_rest(log_all: Tensor, ids: Tensor) -> Tensor:
    """Log of the mass outside of ``ids`` (..., k), summed over those classes: 1 - the mass of ``ids`` would lose its digits
    where little is left."""
    return log_all.scatter(-1, ids, -math.inf).logsumexp(-1).clamp(min=_LEAST)
