"""What a micro-batch adds to the gradient, by the way of the step it belongs to, and what is noted for the log."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mamtra.distill.alignment import Alignment, Stage
from mamtra.distill.compile import Captured
from mamtra.distill.config import DistillConfig
from mamtra.distill.distill_loss import Objective
from mamtra.distill.optimiser import Optimiser
from mamtra.distill.sharding import Placement
from mamtra.distill.teacher_cache import TeacherCache
from mamtra.distill.topk import TopK
from mamtra.models.layout import IGNORE, PAD
from mamtra.models.speech_lm import SpeechLM

Way = Literal["train", "policy", "matrix", "hidden"]
PARTS = ("loss", "ce", "kl", "emb")
SUMS = (*PARTS, "policy", "matrix", "hidden")
"""What is summed up between two lines of the log: the losses, that of on-policy steps, those of the alignment."""


class Gradients:
    """Runs forward and backward passes and the update behind them, as CUDA graphs where the settings say so.

    Args:
        config: settings.
        student: that learns.
        teacher: without gradients, or None.
        optimiser: of the student.
        cache: stored outputs of the teacher, or None.
        placement: of both models.

    Attributes:
        sums: (len(SUMS),) float32, over the steps since they were read.
        counts: steps since then, by way.
    """

    def __init__(
        self,
        config: DistillConfig,
        student: SpeechLM,
        teacher: SpeechLM | None,
        optimiser: Optimiser,
        cache: TeacherCache | None,
        placement: Placement,
    ) -> None:
        run, losses, device = config.run, config.losses, optimiser.gradient.device
        self._optimiser, self._cache, self._tokens = optimiser, cache, config.batch.tokens
        options = {
            "precision": run.precision, "residual": run.residual, "chunk": run.loss_chunk, "compiled": run.compile,
            "placement": placement,
        }  # fmt: skip
        self._objective = Objective(student, teacher, losses, **options)
        self._policy = Objective(student, teacher, losses.model_copy(update={"ce_weight": 0.0}), **options)
        self.sums = torch.zeros(len(SUMS), device=device)
        self.counts = dict.fromkeys(("train", *SUMS[len(PARTS) :]), 0)
        ways = {"train": self._add_train}
        if config.on_policy.share:
            ways["policy"] = self._add_policy
        for stage in ("matrix", "hidden"):
            if getattr(config.alignment, f"{stage}_steps"):
                self._alignment = Alignment(student, teacher, half=run.precision == "bf16")
                ways[stage] = partial(self._add_alignment, stage)
        self._graphs = run.cuda_graph and device.type == "cuda"
        self._ways = {way: Captured(add, device, graphs=run.cuda_graph) for way, add in ways.items()}
        self.update = Captured(optimiser.update, device, graphs=run.cuda_graph)

    def add(self, way: Way, inputs: dict[str, Tensor]) -> None:
        """A micro-batch: ``kind``, ``ids``, ``targets``, its ``weight`` in the step, and ``top_...`` of a cache."""
        if way != "train":
            inputs = {name: value for name, value in inputs.items() if not name.startswith("top_")}
        self._ways[way](**inputs)

    def record(self, lengths: tuple[int, ...]) -> None:
        """Record the graphs of all buckets; nothing that training changes is different afterwards."""
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
            for way, captured in self._ways.items():
                captured.capture(**empty, **(cached if way == "train" else {}))
        optimiser.failed_at.zero_()  # an update that has failed before leaves all weights as they are
        self.update.capture()
        optimiser.gradient.zero_()
        for place, value in zip((optimiser.failed_at, optimiser.count, self.sums), kept, strict=True):
            place.copy_(value)
        torch.cuda.empty_cache()  # what the runs before recording took; graphs have memory of their own

    def means(self) -> dict[str, float]:
        """Of everything that there was since the last call."""
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
