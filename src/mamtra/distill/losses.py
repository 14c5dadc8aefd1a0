"""The three losses of MamTra (Eq. 5 of arXiv 2603.12342): cross entropy, skew KL, squared error of embeddings.

All means run over valid positions by weights, never by selecting rows: shapes do not depend on values, so that a whole
training step can be captured in a CUDA graph.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.runtime.strict_models import ClosedModel

IGNORE = -1
_LOG_ZERO = -1e30

EmbeddingTarget = Literal["last_hidden", "all_hidden", "embedding"]


class DistillLossConfig(ClosedModel):
    """Weights and kinds of the losses.

    Attributes:
        ce_weight: weight of the cross entropy with the speech tokens of the recording.
        logits_weight: weight of the skew KL divergence from the teacher.
        emb_weight: weight of the squared error of embeddings.
        skew_alpha: weight of the other distribution in the mixture (DistiLLM's 0.1).
        skew_direction: ``forward`` KL(p || alpha p + (1 - alpha) q) or ``reverse`` KL(q || (1 - alpha) p + alpha q).
        emb_target: which tensors L_emb compares. The paper's words ("mean-squared error on the token embeddings per
            input sequence") leave it open; ``last_hidden`` (after the final norm) is the reading that explains the size
            of its effect.
    """

    ce_weight: float = 1.0
    logits_weight: float = 1.0
    emb_weight: float = 1.0
    skew_alpha: float = 0.1
    skew_direction: Literal["forward", "reverse"] = "forward"
    emb_target: EmbeddingTarget = "last_hidden"


class DistillLoss(NamedTuple):
    """The weighted sum and its unweighted parts, all scalar float32 tensors."""

    total: Tensor
    ce: Tensor
    logits: Tensor
    emb: Tensor


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of ``values`` where ``valid``; zero when nothing is.

    Args:
        values: (...) float; what lies at invalid positions does not change the result, not even when it is infinite.
        valid: the same shape, bool.
    """
    kept = torch.where(valid, values.float(), 0.0)
    return kept.sum() / valid.sum().clamp(min=1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-probability of the targets, in nats.

    Args:
        logits: (..., V).
        targets: (...) int64, IGNORE where there is none.
    """
    valid = targets != IGNORE
    per_position = F.cross_entropy(logits.float().flatten(0, -2), targets.clamp(min=0).flatten(), reduction="none")
    return masked_mean(per_position.view_as(targets), valid)


def skew_kl(
    student: Tensor,
    teacher: Tensor,
    valid: Tensor,
    *,
    alpha: float = 0.1,
    direction: Literal["forward", "reverse"] = "forward",
) -> Tensor:
    """Skew KL divergence of DistiLLM (Ko et al. 2024, arXiv 2402.03898), mean over valid positions, in nats.

    With the teacher's p and the student's q: forward KL(p || alpha p + (1 - alpha) q), reverse KL(q || (1 - alpha) p +
    alpha q). The entropy term is kept, so both are zero exactly where p = q.

    Args:
        student: logits (..., V).
        teacher: logits (..., V); no gradient flows into them.
        valid: (...) bool.
        alpha: 0 gives the plain divergences.
        direction: ``forward`` or ``reverse``.
    """
    log_q = F.log_softmax(student.float(), -1)
    log_p = F.log_softmax(teacher.detach().float(), -1)
    log_from, log_other = (log_p, log_q) if direction == "forward" else (log_q, log_p)
    return masked_mean(skew_kl_terms(log_from, log_other, alpha).sum(-1), valid)


def skew_kl_terms(log_from: Tensor, log_other: Tensor, alpha: float) -> Tensor:
    """Summands of KL(from || alpha from + (1 - alpha) other) by class; zero where ``from`` is zero.

    Args:
        log_from: log-probabilities (..., V).
        log_other: log-probabilities (..., V).
        alpha: 0 gives the plain divergence.
    """
    log_from = log_from.clamp(min=_LOG_ZERO)  # 0 * (inf - inf) would be NaN
    if alpha > 0:
        log_mix = torch.logaddexp(log_from + math.log(alpha), log_other + math.log1p(-alpha))
    else:
        log_mix = torch.where(log_from > _LOG_ZERO, log_other, 0.0)
    return log_from.exp() * (log_from - log_mix)


def embedding_mse(student: list[Tensor], teacher: list[Tensor], valid: Tensor) -> Tensor:
    """Mean squared error over valid positions and channels, averaged over the pairs.

    Args:
        student: tensors (..., hidden_size): the embeddings, the last hidden states, or the outputs of all layers.
        teacher: as many of the same shapes; no gradient flows into them.
        valid: (...) bool.
    """
    pairs = zip(student, teacher, strict=True)
    return torch.stack(
        [masked_mean((s.float() - t.detach().float()).square().mean(-1), valid) for s, t in pairs]
    ).mean()


def distill_loss(
    config: DistillLossConfig,
    *,
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    student_emb: list[Tensor],
    teacher_emb: list[Tensor],
    emb_valid: Tensor,
) -> DistillLoss:
    """``L = ce_weight * L_CE + logits_weight * L_logits + emb_weight * L_emb``.

    Args:
        config: weights and choices.
        student_logits: (B, L, V).
        teacher_logits: (B, L, V).
        targets: (B, L) int64, IGNORE where there is none; L_CE and L_logits run over the others.
        student_emb: what ``config.emb_target`` names, each (B, L, hidden_size).
        teacher_emb: the same of the teacher.
        emb_valid: (B, L) bool, positions that are no padding; L_emb runs over them.
    """
    ce = cross_entropy(student_logits, targets)
    kl = skew_kl(
        student_logits, teacher_logits, targets != IGNORE, alpha=config.skew_alpha, direction=config.skew_direction
    )
    emb = embedding_mse(student_emb, teacher_emb, emb_valid)
    total = config.ce_weight * ce + config.logits_weight * kl + config.emb_weight * emb
    return DistillLoss(total, ce, kl, emb)
