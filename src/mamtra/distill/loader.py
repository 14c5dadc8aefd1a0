"""The inputs of every step: recordings, collated ahead of the device, or speech tokens sampled from the student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mamtra.data.bucket_sampler import SPECIAL_TOKENS, MicroBatch, Sampler, SamplerPosition
from mamtra.data.collate import Collator, ahead
from mamtra.data.token_shards import TokenShards
from mamtra.distill.config import DistillConfig
from mamtra.distill.distributed import Processes
from mamtra.distill.on_policy import collate_samples, sample_speech
from mamtra.distill.teacher_cache import TeacherCache
from mamtra.models.speech_lm import SpeechLM


class StepInputs(NamedTuple):
    """The micro-batches of one step that this process computes.

    Attributes:
        inputs: tensors of each micro-batch, with its weight in the step.
        batches: their utterances.
        targets: number of targets of the whole step, over all processes.
        after: position of the next step.
    """

    inputs: list[dict[str, Tensor]]
    batches: list[MicroBatch]
    targets: int
    after: dict[str, int]


class Loader:
    """Collates the micro-batches of one process.

    Args:
        config: settings.
        data: the corpus.
        rows: the training set.
        student: whose ids are used.
        opening: text ids before every text.
        cache: stored outputs of the teacher, or None.
        processes: among which a step is divided.

    Attributes:
        sampler: the order of the micro-batches.
        position: of the next step to be collated; ahead of the one that is trained on.
        fixed: whether micro-batches are padded to the shapes of their buckets.
    """

    def __init__(
        self,
        config: DistillConfig,
        data: TokenShards,
        rows: np.ndarray,
        student: SpeechLM,
        opening: Sequence[int],
        cache: TeacherCache | None,
        processes: Processes,
    ) -> None:
        batch, run = config.batch, config.run
        self._opening = np.array(opening, np.int64)
        self._config, self._data, self._cache, self._processes = config, data, cache, processes
        self.fixed = run.cuda_graph or run.compile
        self.sampler = Sampler(
            data.text_len, data.speech_len, data.speaker, rows,
            budget=batch.tokens, lengths=batch.lengths, concatenate_same_speaker=batch.concatenate_same_speaker,
            opening=len(opening), seed=run.seed,
        )  # fmt: skip
        self.position = SamplerPosition(self.sampler, batch.accumulation, processes.rank, processes.world)
        self._maker = Collator(
            data, student.config, layout=batch.layout, token_noise=batch.token_noise, opening=opening, fixed=self.fixed,
            seed=run.seed,
        )  # fmt: skip

    def steps(self) -> Iterator[StepInputs]:
        """Inputs of all steps to come, without end, made ahead by a thread; close the iterator to stop it."""
        return ahead(self.next_step)

    def next_step(self) -> StepInputs:
        """Inputs of the next step.

        Raises:
            MamTraError: the corpus holds ids outside its bounds.
        """
        if self._processes.device.type == "cuda":
            torch.cuda.set_device(
                self._processes.device
            )  # the current device is a property of the thread; pinned memory belongs to it
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
        return StepInputs(inputs, batches, targets, self.position.state())

    def on_policy(self, step: StepInputs, lm: SpeechLM) -> StepInputs:
        """The same texts with speech tokens sampled from the student; the seed and the numbers of the micro-batches seed the draws.

        Args:
            step: inputs with recordings.
            lm: the student, unsharded.
        """
        lm.eval()
        inputs = [
            self._on_policy(batch, lm) | {"weight": made["weight"]}
            for batch, made in zip(step.batches, step.inputs, strict=True)
        ]
        lm.train()
        return step._replace(inputs=inputs)

    def _on_policy(self, batch: MicroBatch, lm: SpeechLM) -> dict[str, Tensor]:
        settings, seed = self._config.on_policy, self._config.run.seed
        found = [[self._data[row] for row in members] for members in batch.members]
        texts = [np.concatenate([self._opening, *(u.text for u in sequence)]) for sequence in found]
        spoken = [sum(len(u.speech) for u in sequence) for sequence in found]
        capacity = [batch.length - len(text) - SPECIAL_TOKENS for text in texts]
        most = [min(max(1, round(settings.longest * n)), r) for n, r in zip(spoken, capacity, strict=True)]
        seeds = np.random.default_rng([seed, batch.epoch, batch.number, 4]).integers(2**62, size=len(texts)).tolist()
        speeches = sample_speech(lm, texts, most, seeds, temperature=settings.temperature)
        shape = (batch.rows, batch.length) if self.fixed else None
        return collate_samples(texts, speeches, lm.config.end_target, shape)
