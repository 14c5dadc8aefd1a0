"""The inputs of every step: recordings in their order, made ahead of the device, or what the student says to their texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mamtra.data.bucket_sampler import MARKS, MicroBatch, Position, Sampler
from mamtra.data.collate import BatchMaker, ahead
from mamtra.data.token_shards import TokenShards
from mamtra.distill.config import DistillConfig
from mamtra.distill.distributed import Processes
from mamtra.distill.on_policy import lay_out, sample_speech
from mamtra.distill.teacher_cache import TeacherCache
from mamtra.models.speech_lm import SpeechLM


class Share(NamedTuple):
    """A process's part of one step, as tensors.

    Attributes:
        inputs: of each micro-batch, with its weight in the step.
        batches: what they are made of.
        targets: of the whole step.
        after: the position behind it.
    """

    inputs: list[dict[str, Tensor]]
    batches: list[MicroBatch]
    targets: int
    after: dict[str, int]


class Feed:
    """Lays out a corpus for one process.

    Args:
        config: settings.
        data: the corpus.
        rows: utterances to learn from.
        student: whose layout counts.
        cache: stored outputs of the teacher, or None.
        processes: who shares a step.

    Attributes:
        sampler: the order.
        position: of the next step to be made; ahead of the one that is trained on.
        fixed: micro-batches have the shapes of their buckets.
    """

    def __init__(
        self,
        config: DistillConfig,
        data: TokenShards,
        rows: np.ndarray,
        student: SpeechLM,
        cache: TeacherCache | None,
        processes: Processes,
    ) -> None:
        batch, run = config.batch, config.run
        self._config, self._data, self._cache, self._processes = config, data, cache, processes
        self.fixed = run.cuda_graph or run.compile
        self.sampler = Sampler(
            data.text_len, data.speech_len, data.speaker, rows,
            budget=batch.tokens, lengths=batch.lengths, join=batch.join, seed=run.seed,
        )  # fmt: skip
        self.position = Position(self.sampler, batch.accumulation, processes.rank, processes.world)
        self._maker = BatchMaker(
            data, student.config, layout=batch.layout, disturbed=batch.disturbed, fixed=self.fixed, seed=run.seed
        )

    def shares(self) -> Iterator[Share]:
        """Of all steps to come, without end. Close it when there is enough."""
        return ahead(self.next_share)

    def next_share(self) -> Share:
        """Of the next step.

        Raises:
            MamTraError: the corpus holds ids outside its bounds.
        """
        if self._processes.device.type == "cuda":
            torch.cuda.set_device(self._processes.device)  # each thread has its own; pinned memory belongs to it
        batches, targets = self.position.step()
        inputs = []
        for batch in batches:
            made = self._maker(batch)
            if self._cache is not None:
                made |= self._cache.read(batch, made)
            made["weight"] = torch.tensor(batch.targets / targets)
            if self._processes.device.type == "cuda":
                made = {name: value.pin_memory() for name, value in made.items()}
            inputs.append(made)
        return Share(inputs, batches, targets, self.position.state())

    def spoken(self, share: Share, lm: SpeechLM) -> Share:
        """The same micro-batches with what the student says now to their texts; the seed and their numbers decide the draws.

        Args:
            share: of recordings.
            lm: the student, in one piece.
        """
        lm.eval()
        inputs = [
            self._spoken(batch, lm) | {"weight": made["weight"]}
            for batch, made in zip(share.batches, share.inputs, strict=True)
        ]
        lm.train()
        return share._replace(inputs=inputs)

    def _spoken(self, batch: MicroBatch, lm: SpeechLM) -> dict[str, Tensor]:
        settings, seed = self._config.on_policy, self._config.run.seed
        found = [[self._data[row] for row in members] for members in batch.members]
        texts = [np.concatenate([u.text for u in sequence]) for sequence in found]
        said = [sum(len(u.speech) for u in sequence) for sequence in found]
        room = [batch.length - len(text) - MARKS for text in texts]
        most = [min(max(1, round(settings.longest * n)), r) for n, r in zip(said, room, strict=True)]
        number = int(np.random.default_rng([seed, batch.epoch, batch.number, 4]).integers(2**62))
        generator = torch.Generator(self._processes.device).manual_seed(number)
        speeches = sample_speech(lm, texts, most, temperature=settings.temperature, generator=generator)
        shape = (batch.rows, batch.length) if self.fixed else None
        return lay_out(texts, speeches, lm.config.eos_id, shape)
