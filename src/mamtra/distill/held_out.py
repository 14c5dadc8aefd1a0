"""Teacher-forced cross entropy on utterances that are kept aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mamtra.distill.batches import BatchMaker
from mamtra.distill.losses import cross_entropy
from mamtra.distill.materials import Corpus
from mamtra.distill.processes import Processes
from mamtra.distill.sampler import Sampler
from mamtra.models.layout import IGNORE
from mamtra.models.speech_lm import SpeechLM


class HeldOut:
    """A fixed set of batches, shared out to the processes.

    Args:
        corpus: its held-out part is used.
        lm: model whose layout counts.
        utterances: at most so many, evenly spread.
        budget: positions of a batch.
        processes: all of them measure.
        precision: as in training.
        lengths: shapes of the training, where others would have to be compiled; utterances that are longer are left out.
    """

    def __init__(
        self,
        corpus: Corpus,
        lm: SpeechLM,
        utterances: int,
        budget: int,
        processes: Processes,
        precision: str,
        lengths: Sequence[int] | None = None,
    ) -> None:
        rows, data = corpus.held_rows, corpus.held_out
        if len(rows) > utterances:
            rows = rows[np.linspace(0, len(rows) - 1, utterances).round().astype(int)]
        self._processes, self._half = processes, precision == "bf16"
        self._batches: list[dict[str, Tensor]] = []
        if len(rows):
            sampler = Sampler(data.text_len, data.speech_len, data.speaker, rows, budget=budget, lengths=lengths)
            plan = sampler.epoch(0)
            maker = BatchMaker(data, lm.config, fixed=lengths is not None)
            self._batches = [maker(batch) for batch in plan[processes.rank :: processes.world]]
        self.empty = len(rows) == 0

    @torch.no_grad()
    def cross_entropy(self, lm: SpeechLM) -> float:
        """Nats a speech token; every process gets the same number."""
        device = self._processes.device
        found = torch.zeros(2, dtype=torch.float64, device=device)
        for batch in self._batches:
            kind, ids, targets = (batch[name].to(device) for name in ("kind", "ids", "targets"))
            with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
                logits = lm.logits(lm(lm.embed(kind, ids)))
            count = (targets != IGNORE).sum()
            found += torch.stack((cross_entropy(logits, targets).double() * count, count.double()))
        self._processes.add(found)
        return float(found[0] / found[1])
