"""Teacher-forced cross entropy on utterances that are kept aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.data.bucket_sampler import Sampler
from mamtra.data.collate import BatchMaker
from mamtra.distill.distributed import Processes
from mamtra.distill.setup import Corpus
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
    def per_sequence(self, lm: SpeechLM) -> Tensor:
        """Of the sequences of this process, in the order of the batches: summed nats and speech tokens, (n, 2) float64."""
        device, found = self._processes.device, []
        for batch in self._batches:
            kind, ids, targets = (batch[name].to(device) for name in ("kind", "ids", "targets"))
            with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
                logits = lm.logits(lm(lm.embed(kind, ids)))
            nats = F.cross_entropy(
                logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none"
            )
            found.append(torch.stack((nats.view(targets.shape).double().sum(1), (targets != IGNORE).sum(1)), 1))
        every = torch.cat(found) if found else torch.zeros(0, 2, dtype=torch.float64, device=device)
        return every[every[:, 1] > 0]

    def cross_entropy(self, lm: SpeechLM) -> float:
        """Nats a speech token; every process gets the same number."""
        found = self.per_sequence(lm).sum(0)
        self._processes.add(found)
        return float(found[0] / found[1])
