"""Teacher-forced cross entropy on the validation set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.data.bucket_sampler import Sampler
from mamtra.data.collate import Collator
from mamtra.data.corpus import Corpus
from mamtra.distill.distributed import Processes
from mamtra.models.layout import IGNORE
from mamtra.models.speech_lm import SpeechLM


class ValidationSet:
    """The batches of the validation set, divided among the processes.

    Args:
        corpus: with the validation set.
        lm: model whose ids are used.
        utterances: largest number to use, evenly spread.
        budget: positions of a batch.
        processes: each gets a part of the batches.
        precision: as in training.
        opening: text ids before every text.
        lengths: of the buckets of the training, where other shapes would have to be compiled; longer utterances are left out.
    """

    def __init__(
        self,
        corpus: Corpus,
        lm: SpeechLM,
        utterances: int,
        budget: int,
        processes: Processes,
        precision: str,
        opening: Sequence[int] = (),
        lengths: Sequence[int] | None = None,
    ) -> None:
        rows, data = corpus.validation_rows, corpus.validation
        if len(rows) > utterances:
            rows = rows[np.linspace(0, len(rows) - 1, utterances).round().astype(int)]
        self._processes, self._half = processes, precision == "bf16"
        self._batches: list[dict[str, Tensor]] = []
        if len(rows):
            sampler = Sampler(
                data.text_len, data.speech_len, data.speaker, rows, budget=budget, lengths=lengths, opening=len(opening)
            )
            plan = sampler.epoch(0)
            maker = Collator(data, lm.config, opening=opening, fixed=lengths is not None)
            self._batches = [maker(batch) for batch in plan[processes.rank :: processes.world]]
        self.empty = len(rows) == 0

    @torch.no_grad()
    def per_sequence(self, lm: SpeechLM) -> Tensor:
        """Summed cross entropy (nats) and speech tokens of each sequence of this process, (n, 2) float64."""
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
        """Nats per speech token, over the batches of all processes."""
        found = self.per_sequence(lm).sum(0)
        self._processes.add(found)
        return float(found[0] / found[1])
