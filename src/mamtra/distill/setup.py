"""Everything that a training run works with, opened and checked before the first step."""

from __future__ import annotations

from dataclasses import dataclass

from mamtra.checkpoints.stored_lm import StoredLM
from mamtra.data.corpus import Corpus, check_corpus, open_corpus
from mamtra.distill.compile import compile_layers, enable_triton
from mamtra.distill.config import DistillConfig
from mamtra.distill.distill_loss import cast_linear_weights_to_bf16
from mamtra.distill.distributed import Processes
from mamtra.distill.loader import Loader
from mamtra.distill.models import check_pair, make_student, open_speech_lm, read_opening, read_weights
from mamtra.distill.optimiser import Optimiser
from mamtra.distill.settings import AlignmentSettings
from mamtra.distill.sharding import Sharding
from mamtra.distill.teacher_cache import open_cache
from mamtra.distill.train_step import TrainStep
from mamtra.distill.validation import ValidationSet
from mamtra.models.speech_lm import SpeechLM


@dataclass(frozen=True)
class Setup:
    """The parts of a training run.

    Attributes:
        config: settings.
        processes: of this run.
        corpus: training and validation set.
        initial: the student before the first step, as stored.
        student: on the device, in training mode.
        teacher: on the device, or None where no loss needs it.
        sharding: of both models.
        loader: inputs of the steps.
        validation: batches of the validation set.
        optimiser: of the student.
        train_step: forward, backward and update.
    """

    config: DistillConfig
    processes: Processes
    corpus: Corpus
    initial: StoredLM
    student: SpeechLM
    teacher: SpeechLM | None
    sharding: Sharding
    loader: Loader
    validation: ValidationSet
    optimiser: Optimiser
    train_step: TrainStep

    @property
    def alignment_steps(self) -> int:
        """Steps before the training proper."""
        return self.config.alignment.matrix_steps + self.config.alignment.hidden_steps

    @property
    def steps(self) -> int:
        """Steps of the whole run, alignment included."""
        run, batches = self.config.run, len(self.loader.sampler.epoch(0))
        proper = run.steps or max(1, round(run.epochs * batches / self.config.batch.accumulation))
        return self.alignment_steps + proper


def set_up(config: DistillConfig, processes: Processes) -> Setup:
    """Open models and corpus, convert the student and fill the teacher cache where they are not there yet.

    Raises:
        MamTraError: models, corpus and settings do not match, or the device cannot do what the settings ask for.
    """
    stored = open_speech_lm(config.teacher.model)
    corpus = open_corpus(config.data)
    check_corpus(corpus.train.manifest, config.data.train, stored)
    if processes.first:
        make_student(config, stored)
    processes.wait()
    initial = make_student(config, stored)
    check_pair(stored.config, initial.config, config.losses)
    batch, run = config.batch, config.run
    needed = config.losses.logits_weight or config.losses.emb_weight or config.alignment != AlignmentSettings()
    teacher = read_weights(stored) if needed else None
    sharding = Sharding(processes, split=run.parallel == "fsdp")
    student = sharding.put(read_weights(initial)).train()
    if teacher is not None:
        if run.precision == "bf16":
            cast_linear_weights_to_bf16(teacher)
        sharding.put(teacher)
    opening = read_opening(stored)
    cache = open_cache(config, stored, opening, corpus, processes)
    loader = Loader(config, corpus.train, corpus.rows, student, opening, cache, processes)
    lengths = loader.sampler.lengths if loader.fixed else None
    validation = ValidationSet(
        corpus, student, run.validation_utterances, batch.tokens, processes, run.precision, opening, lengths
    )
    optimiser = Optimiser(student, config.optimizer, sharding)
    train_step = TrainStep(config, student, teacher, optimiser, cache, sharding)
    student.model.checkpointing = run.gradient_checkpointing
    models = [lm for lm in (student, teacher) if lm is not None]
    if run.use_triton:
        for lm in models:
            enable_triton(lm, processes.device)
    if run.compile:
        compile_layers(*models)
    return Setup(
        config, processes, corpus, initial, student, teacher, sharding, loader, validation, optimiser, train_step
    )
