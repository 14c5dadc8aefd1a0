"""The losses of teacher and student over one micro-batch, with the logits of a few thousand positions in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mamtra.distill.chunked_loss import chunked_sums
from mamtra.distill.losses import DistillLoss, DistillLossConfig, cross_entropy, embedding_mse, skew_kl
from mamtra.distill.sharding import Sharding
from mamtra.distill.topk import TopK, topk_skew_kl
from mamtra.models.layout import IGNORE, PAD
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.linear import aligned_linear

Result = TypeVar("Result")
_NEVER = -1e30
"""A logit of probability zero; finite, since 0 * (inf - inf) is NaN."""


class DistillLossFunction:
    """The losses of a micro-batch.

    Args:
        student: in training mode.
        teacher: without gradients; None where the losses need none.
        losses: weights and choices.
        precision: ``bf16`` computes matrix products in bfloat16.
        residual: ``bf16`` keeps the residual stream of both models in bfloat16.
        chunk: positions whose logits are in memory at a time.
        compiled: compile the losses, which otherwise read the logits dozens of times.
        sharding: of both models, if they are sharded.
    """

    def __init__(
        self,
        student: SpeechLM,
        teacher: SpeechLM | None,
        losses: DistillLossConfig,
        *,
        precision: str = "float32",
        residual: str = "float32",
        chunk: int = 8192,
        compiled: bool = False,
        sharding: Sharding | None = None,
    ) -> None:
        self.student, self.teacher, self.losses, self.chunk = student, teacher, losses, chunk
        self.half, self._sharding = precision == "bf16", sharding
        self._half_residual = residual == "bf16"
        self._sums = torch.compile(self._chunk_sums, dynamic=False) if compiled else self._chunk_sums
        self._mse = torch.compile(embedding_mse, dynamic=False) if compiled else embedding_mse

    def __call__(self, kind: Tensor, ids: Tensor, targets: Tensor, cached: TopK | None = None) -> DistillLoss:
        """Weighted sum and parts, means over the positions of this micro-batch.

        Args:
            kind: (B, L) int64.
            ids: (B, L) int64.
            targets: (B, L) int64.
            cached: the teacher's probabilities at these positions, each (B, L, k) or (B, L).
        """
        return self._with(self.student, self._losses, kind, ids, targets, cached)

    def _with(self, lm: SpeechLM, function: Callable[..., Result], *inputs: Any) -> Result:
        return function(*inputs) if self._sharding is None else self._sharding.run(lm, function, *inputs)

    def _losses(self, kind: Tensor, ids: Tensor, targets: Tensor, cached: TopK | None) -> DistillLoss:
        # a captured graph cannot use casts cached by an earlier call
        with torch.autocast(kind.device.type, torch.bfloat16, enabled=self.half, cache_enabled=False):
            hidden, mine = self._run(self.student, kind, ids)
            with torch.no_grad():
                aim, theirs = self._teach(kind, ids, whole=cached is None)
            head, ce, kl = self._head_losses(hidden, aim, targets, cached)
        emb = self._mse(mine, theirs, kind != PAD) if theirs and self.losses.emb_weight else ce.new_zeros(())
        return DistillLoss(head + self.losses.emb_weight * emb, ce, kl, emb)

    def _teach(self, kind: Tensor, ids: Tensor, *, whole: bool) -> tuple[Tensor | None, list[Tensor]]:
        """`_run` of the teacher; with cached logits only its embeddings are needed."""
        if self.teacher is None:
            return None, []
        if whole:
            return self._with(self.teacher, self._run, self.teacher, kind, ids)
        return None, [self._with(self.teacher, self.teacher.embed, kind, ids)]

    def _run(self, lm: SpeechLM, kind: Tensor, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Hidden states after the final norm, and the tensors that L_emb compares."""
        embedded = lm.embed(kind, ids)
        outputs: list[Tensor] | None = [] if self.losses.emb_target == "all_hidden" else None
        hidden = lm(embedded.bfloat16() if self._half_residual else embedded, collect=outputs)
        if outputs is not None:
            return hidden, outputs
        return hidden, [hidden if self.losses.emb_target == "last_hidden" else embedded]

    def _head_losses(
        self, hidden: Tensor, aim: Tensor | None, targets: Tensor, cached: TopK | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted sum of cross entropy and divergence, and both unweighted for the log."""
        count = (targets != IGNORE).sum().clamp(min=1)
        flat = [None if t is None else t.flatten(0, 1) for t in (hidden, aim, targets, *(cached or (None, None, None)))]
        factors = self.losses.ce_weight, self.losses.logits_weight
        head = self.student.head_weight, self.student.head_bias
        total, sums = chunked_sums(self._sums, factors, self.chunk, flat[0], flat[1:], head)
        ce, kl = (sums / count).unbind()
        return total / count, ce, kl

    def _chunk_sums(
        self,
        hidden: Tensor,
        aim: Tensor | None,
        targets: Tensor,
        ids: Tensor | None,
        log_p: Tensor | None,
        rest: Tensor | None,
    ) -> Tensor:
        """Sums of cross entropy and divergence over some positions, (2,) float32."""
        logits, valid = head_logits(self.student, hidden), targets != IGNORE
        ce = cross_entropy(logits, targets)
        kl = torch.zeros_like(ce)
        options = {"alpha": self.losses.skew_alpha, "direction": self.losses.skew_direction}
        if self.losses.logits_weight and ids is not None:
            kl = topk_skew_kl(logits, TopK(ids, log_p, rest), valid, **options)
        elif self.losses.logits_weight and aim is not None:
            with torch.no_grad():
                wanted = head_logits(self.teacher, aim)
            kl = skew_kl(logits, wanted, valid, **options)
        return torch.stack((ce, kl)) * valid.sum()


def head_logits(lm: SpeechLM, hidden: Tensor, *, aligned: bool | None = None) -> Tensor:
    """Logits for the losses; on a GPU with padding columns of probability zero, which do not change the losses.

    Args:
        lm: model with the head.
        hidden: (..., hidden_size).
        aligned: pad so that rows of logits are aligned in memory; by default on GPUs.
    """
    if not (hidden.device.type == "cuda" if aligned is None else aligned):
        return lm.logits(hidden)
    return aligned_linear(hidden, lm.head_weight, lm.head_bias, pad_bias=_NEVER)


def cast_linear_weights_to_bf16(lm: SpeechLM) -> SpeechLM:
    """Cast linear weights to bfloat16 once, as autocast would at every call; for a model that is not trained."""
    for module in lm.modules():
        if isinstance(module, nn.Linear):
            module.weight.data = module.weight.data.bfloat16()
    return lm
