"""Forward and backward pass of a micro-batch, by the phase of its step, the update, and the sums for the log."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mamtra.distill.alignment import Alignment, Stage
from mamtra.distill.compile import Captured
from mamtra.distill.config import DistillConfig
from mamtra.distill.distill_loss import DistillLossFunction
from mamtra.distill.optimiser import Optimiser
from mamtra.distill.sharding import Sharding
from mamtra.distill.teacher_cache import TeacherCache
from mamtra.distill.topk import TopK
from mamtra.models.layout import IGNORE, PAD
from mamtra.models.speech_lm import SpeechLM

Phase = Literal["train", "policy", "matrix", "hidden"]
PARTS = ("loss", "ce", "kl", "emb")
SUMS = (*PARTS, "policy", "matrix", "hidden")
"""Sums between two lines of the log: the losses, the loss of on-policy steps, and those of the alignment stages."""


class TrainStep:
    """Forward and backward passes and the update, as CUDA graphs if the settings say so.

    Args:
        config: settings.
        student: to train.
        teacher: without gradients, or None.
        optimiser: of the student.
        cache: stored outputs of the teacher, or None.
        sharding: of both models.

    Attributes:
        sums: (len(SUMS),) float32, over the steps since they were read.
        counts: steps since then, by phase.
    """

    def __init__(
        self,
        config: DistillConfig,
        student: SpeechLM,
        teacher: SpeechLM | None,
        optimiser: Optimiser,
        cache: TeacherCache | None,
        sharding: Sharding,
    ) -> None:
        run, losses, device = config.run, config.losses, optimiser.gradient.device
        self._optimiser, self._cache, self._tokens = optimiser, cache, config.batch.tokens
        options = {
            "precision": run.precision, "residual": run.residual, "chunk": run.loss_chunk, "compiled": run.compile,
            "sharding": sharding,
        }  # fmt: skip
        self._objective = DistillLossFunction(student, teacher, losses, **options)
        self._policy = DistillLossFunction(student, teacher, losses.model_copy(update={"ce_weight": 0.0}), **options)
        self.sums = torch.zeros(len(SUMS), device=device)
        self.counts = dict.fromkeys(("train", *SUMS[len(PARTS) :]), 0)
        phases = {"train": self._add_train}
        if config.on_policy.fraction:
            phases["policy"] = self._add_policy
        for stage in ("matrix", "hidden"):
            if getattr(config.alignment, f"{stage}_steps"):
                self._alignment = Alignment(student, teacher, half=run.precision == "bf16")
                phases[stage] = partial(self._add_alignment, stage)
        self._graphs = run.cuda_graph and device.type == "cuda"
        self._phases = {name: Captured(add, device, graphs=run.cuda_graph) for name, add in phases.items()}
        self.update = Captured(optimiser.update, device, graphs=run.cuda_graph)

    def add(self, phase: Phase, inputs: dict[str, Tensor]) -> None:
        """Add the gradient of a micro-batch: ``kind``, ``ids``, ``targets``, its ``weight``, and ``top_...`` of a cache."""
        if phase != "train":
            inputs = {name: value for name, value in inputs.items() if not name.startswith("top_")}
        self._phases[phase](**inputs)

    def capture(self, lengths: tuple[int, ...]) -> None:
        """Capture the graphs of all buckets; weights, moments and sums are the same afterwards."""
        if not self._graphs:
            return
        optimiser = self._optimiser
        kept = optimiser.failed_at.clone(), optimiser.count.clone(), self.sums.clone()
        for length in lengths:
            rows = self._tokens // length
            if rows == 0:
                continue
            empty = {
                "kind": torch.full((rows, length), PAD),
                "ids": torch.full((rows, length), PAD),
                "targets": torch.full((rows, length), IGNORE),
                "weight": torch.tensor(0.0),
            }
            cached = {} if self._cache is None else self._cache.blank(rows, length)
            for phase, captured in self._phases.items():
                captured.capture(**empty, **(cached if phase == "train" else {}))
        optimiser.failed_at.zero_()  # after a failed update the next ones leave the weights unchanged
        self.update.capture()
        optimiser.gradient.zero_()
        for place, value in zip((optimiser.failed_at, optimiser.count, self.sums), kept, strict=True):
            place.copy_(value)
        torch.cuda.empty_cache()  # memory of the warm-up runs; graphs have pools of their own

    def means(self) -> dict[str, float]:
        """Mean losses since the last call."""
        found = {}
        for name, total in zip(SUMS, self.sums.tolist(), strict=True):
            count = self.counts["train" if name in PARTS else name]
            if count:
                found[name] = total / count
        self.sums.zero_()
        self.counts = dict.fromkeys(self.counts, 0)
        return found

    # Everything below stays on the device.

    def _add_train(self, weight: Tensor, kind: Tensor, ids: Tensor, targets: Tensor, **top: Tensor) -> None:
        cached = TopK(top["top_ids"], top["top_log_p"], top["top_rest"]) if top else None
        loss = self._objective(kind, ids, targets, cached)
        (loss.total * weight).backward()
        self.sums[: len(PARTS)].add_(torch.stack([part.detach() for part in loss]) * weight)

    def _add_policy(self, weight: Tensor, kind: Tensor, ids: Tensor, targets: Tensor) -> None:
        loss = self._policy(kind, ids, targets)
        (loss.total * weight).backward()
        self.sums[SUMS.index("policy")].add_(loss.total.detach() * weight)

    def _add_alignment(self, stage: Stage, weight: Tensor, kind: Tensor, ids: Tensor, targets: Tensor) -> None:
        loss = self._alignment.backward(stage, kind, ids, weight)
        self.sums[SUMS.index(stage)].add_(loss * weight)
