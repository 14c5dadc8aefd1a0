"""Distillation of a flow to few steps: what `mamtra distill-flow` does; the same weights after any interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamtra.acoustic.causal_flow import CausalFlow
from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.model_files import find_beside, is_native, read_config
from mamtra.checkpoints.native import load_part
from mamtra.data.collate import ahead
from mamtra.distill.checkpoints import (
    Checkpoint,
    Measured,
    Position,
    RunState,
    check_same_settings,
    checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from mamtra.distill.export import write_student
from mamtra.distill.flow_batches import FlowBatches, VoiceTable, open_tokens, open_voices
from mamtra.distill.flow_settings import FlowDistillConfig, parse_flow_config
from mamtra.distill.flow_step import FlowStep, make_few_step_flow
from mamtra.distill.interrupt import InterruptLatch
from mamtra.distill.log import TrainingLog
from mamtra.distill.optimiser import Optimiser
from mamtra.distill.run_report import write_run_report
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.device import pick_device
from mamtra.runtime.explain import memory_advice
from mamtra.runtime.locks import directory_lock

Listener = Callable[[dict[str, Any]], None]
Ticker = Callable[[int, int], None]


@dataclass(frozen=True)
class DistilledFlow:
    """A finished distillation of a flow.

    Attributes:
        student: model directory with the few-step flow.
        report: HTML file with the curves.
        steps: training steps.
        parameters: that were trained.
        train: last line of the training errors.
    """

    student: Path
    report: Path
    steps: int
    parameters: int
    train: dict[str, float]


@checked
def distill_flow(
    config: Mapping[str, Any] | FlowDistillConfig,
    *changes: str,
    resume: bool = False,
    listener: Listener | None = None,
    ticker: Ticker | None = None,
) -> DistilledFlow:
    """Train a flow to take few steps without guidance as its teacher takes many with it.

    Args:
        config: settings, or a nested dictionary of them.
        changes: ``key=value`` with dotted keys, such as ``"optimizer.lr=1e-4"``.
        resume: go on from the latest checkpoint if there is one.
        listener: called with every line of the log, and with notes about what takes long, of kind "note", which are not in it.
        ticker: called after every step with the steps that are done and their total.

    Raises:
        MamTraError: model, corpus, voices and settings do not match, the folder holds another training or one that is going on, a
            loss is not finite, or memory or disk are full.
        KeyboardInterrupt: Ctrl-C, after a checkpoint of the last step.
    """
    content = config.model_dump() if isinstance(config, FlowDistillConfig) else config
    settings = parse_flow_config(content, changes)
    with directory_lock(Path(settings.out), "training"):
        trainer = FlowTrainer(settings, resume=resume, listener=listener, ticker=ticker)
        student = trainer.run()
        report = write_run_report(Path(settings.out))
    return DistilledFlow(student, report, trainer.step, trainer.parameters, trainer.errors)


class FlowTrainer:
    """Runs the steps of a distillation; see `distill_flow`.

    Attributes:
        step: training steps that are done.
        errors: the last ones that were logged.
    """

    def __init__(
        self, config: FlowDistillConfig, *, resume: bool, listener: Listener | None, ticker: Ticker | None
    ) -> None:
        self.config, self.out, self.step, self._elapsed = config, Path(config.out), 0, 0.0
        self._listener, self._ticker, self.errors = listener, ticker, dict[str, float]()
        found = checkpoints(self.out)
        if found and not resume:
            raise MamTraError(f"{self.out} holds a training already; go on with --resume, or name another folder.")
        saved = load_checkpoint(found[-1]) if found else None
        if saved is not None:
            check_same_settings(saved.state.settings, config.fingerprint(), self.out)
        self._directory, self._device = find_model(config.model), pick_device(config.run.device)
        teacher = _open_teacher(self._directory, config)
        space = str(read_config(self._directory).get("voice_space", ""))
        sizes = teacher.config
        voices = open_voices(config, find_beside(self._directory, "voices"), space, sizes.spk_embed_dim)
        corpus = open_tokens(config, space, sizes.vocab_size)
        torch.manual_seed(config.run.seed)
        teacher.to(self._device)
        self._student = make_few_step_flow(teacher, config.flow_steps).train()
        estimator = self._student.decoder.estimator
        if config.start is not None:
            estimator.load_state_dict(_open_start(config.start, self._student).decoder.estimator.state_dict())
        self._optimiser = Optimiser(estimator, config.optimizer)
        self._batches = FlowBatches(config, corpus, voices, sizes.token_mel_ratio)
        self._train = FlowStep(config, teacher, self._student, VoiceTable(voices, self._device), self._optimiser)
        self.parameters = sum(p.numel() for p in estimator.parameters())
        self._about = {"utterances": len(corpus), "speech_tokens": int(corpus.speech_len.sum()), "voices": len(voices)}
        if saved is not None:
            self._restore(saved)
            self._note(f"Going on after step {self.step}.")
        elif resume:
            self._note(f"{self.out} holds no checkpoint, so training starts with the first step.")

    def run(self) -> Path:
        """Train to the end; returns the directory of the trained model."""
        total, latch = self.config.run.steps, InterruptLatch(tell=self._tell_of_interrupt)
        self._log = TrainingLog(self.out, self.step)
        self._began = time.perf_counter() - self._elapsed
        if self.step == 0:
            self._write("start", parameters=self.parameters, steps=total, **self._about)
        try:
            with memory_advice(f"lower batch.tokens (now {self.config.batch.tokens})"):
                self._train.capture(self._batches)
                self._loop(total, latch)
            self._check()
            self._save()
            return self._export()
        finally:
            self._log.close()

    def _loop(self, total: int, latch: InterruptLatch) -> None:
        with latch, closing(self._inputs()) as inputs:
            while self.step < total and (progress := self._progress()) < 1:
                rate = self._optimiser.rate(min(1.0, progress + 0.5 / total))
                self._optimiser.set_rate(rate)
                self._train(next(inputs), chunked=self.step % 2 == 1)
                self.step += 1
                self._after_step(rate, latch)

    def _inputs(self) -> Iterator[dict[str, Tensor]]:
        numbers = iter(range(self.step, self.config.run.steps))
        return ahead(lambda: self._batches(next(numbers, 0)))

    def _after_step(self, rate: float, latch: InterruptLatch) -> None:
        run, last = self.config.run, self.step == self.config.run.steps
        if self.step % run.log_every == 0 or last:
            self._check()
            self.errors = self._train.means()
            minutes = round((time.perf_counter() - self._began) / 60, 4)
            self._write("train", **self.errors, norm=float(self._optimiser.norm), lr=rate, minutes=minutes)
        if latch.requested or (run.save_every and self.step % run.save_every == 0 and not last):
            self._save()
        if latch.requested:
            raise KeyboardInterrupt(f"step {self.step} is saved; go on with --resume.")
        if self._ticker is not None:
            self._ticker(self.step, run.steps)

    def _progress(self) -> float:
        run = self.config.run
        by_time = (time.perf_counter() - self._began) / (60 * run.minutes) if run.minutes else 0.0
        return max(self.step / run.steps, by_time)

    def _check(self) -> None:
        failed = int(self._optimiser.failed_at)
        if failed >= 0:
            raise MamTraError(
                f"The loss or its gradient is not finite in step {failed + 1}; training has stopped. Lower optimizer.lr or "
                "optimizer.clip, or look at the voices and the corpus."
            )

    def _save(self) -> None:
        self._check()
        state = RunState(
            step=self.step,
            position=Position(epoch=0, number=self.step),
            elapsed=time.perf_counter() - self._began,
            counts={"train": self._train.count},
            measured=Measured(step=self.step, values=self.errors),
            settings=self.config.fingerprint(),
        )
        extra = {"sums": self._train.sums, "random": torch.get_rng_state()}
        if self._device.type == "cuda":
            extra["random_cuda"] = torch.cuda.get_rng_state(self._device)
        weights = dict(self._student.decoder.estimator.state_dict())
        save_checkpoint(self.out, Checkpoint(state, weights, self._optimiser.state() | extra), self.config.run.keep)

    def _restore(self, saved: Checkpoint) -> None:
        try:
            self._student.decoder.estimator.load_state_dict(saved.student)
            self._optimiser.restore(saved.optimizer)
            self._train.sums.copy_(saved.optimizer["sums"])
            torch.set_rng_state(saved.optimizer["random"])
            if self._device.type == "cuda" and "random_cuda" in saved.optimizer:
                torch.cuda.set_rng_state(saved.optimizer["random_cuda"], self._device)
        except (KeyError, RuntimeError) as error:
            raise MamTraError(f"The latest checkpoint of {self.out} does not fit this flow; remove it.") from error
        self.step, self._elapsed = saved.state.step, saved.state.elapsed
        self._train.count, self.errors = saved.state.counts["train"], saved.state.measured.values

    def _export(self) -> Path:
        minutes = round((time.perf_counter() - self._began) / 60, 3)
        settings = self.config.model_dump(mode="json")
        about = {"settings": settings, "steps": self.step, "minutes": minutes, **self._about, "errors": self.errors}
        with self._optimiser.averaged():
            made = write_student(
                self.out, self._directory, "flow", self._student, {**about, "device": str(self._device)},
                generation={"flow_steps": self.config.flow_steps[-1]}, storage=self.config.storage,
            )  # fmt: skip
        self._write("end", minutes=minutes, steps=self.step)
        return made

    def _note(self, text: str) -> None:
        if self._listener is not None:
            self._listener({"kind": "note", "step": self.step, "text": text})

    def _tell_of_interrupt(self) -> None:
        self._note(f"Ending after step {self.step + 1}, which will be saved; Ctrl-C again ends at once and loses it.")

    def _write(self, kind: str, **values: float | int) -> None:
        line = self._log.write(kind, self.step, **values)
        if self._listener is not None:
            self._listener(line)


def _open_teacher(directory: Path, config: FlowDistillConfig) -> CausalFlow:
    if not is_native(directory):
        raise MamTraError(f"{directory} is not a model directory of this package; make one with `mamtra convert`.")
    teacher = load_part(directory, "flow")
    if teacher.config.trained_steps:
        raise MamTraError(f"The flow of {config.model} takes few steps already; name the model that it was made from.")
    return teacher


def _open_start(model: str, student: CausalFlow) -> CausalFlow:
    flow = load_part(find_model(model), "flow")
    if flow.config != student.config:
        raise MamTraError(
            f"The student cannot go on from the flow of {model}: that takes {_some_steps(flow)} and the student "
            f"{_some_steps(student)}, or it has other sizes. Name a few-step flow that was made of an earlier flow."
        )
    return flow


def _some_steps(flow: CausalFlow) -> str:
    return f"{' or '.join(map(str, flow.config.trained_steps)) or 'any number of'} steps"
