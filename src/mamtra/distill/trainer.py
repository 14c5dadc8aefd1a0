"""The training loop: the same steps on any number of processes, and the same weights after any interruption."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamtra.data.bucket_sampler import MicroBatch
from mamtra.distill.checkpoints import Checkpoint, Measured, Position, RunState, checkpoints, save_checkpoint
from mamtra.distill.export import write_student
from mamtra.distill.interrupt import InterruptLatch
from mamtra.distill.loader import StepInputs
from mamtra.distill.log import TrainingLog
from mamtra.distill.setup import Setup
from mamtra.distill.train_step import Phase
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.explain import memory_advice

Observer = Callable[[SpeechLM, int], dict[str, float]]
"""Called at every validation with the student, as it would be exported, and the step; what it returns is logged."""
Listener = Callable[[dict[str, Any]], None]
"""Called with every line of the log, and with notes about what takes long, of kind "note", which are not in the log."""
Ticker = Callable[[int, int], None]
"""Called after every step with the steps that are done and their total."""


class Trainer:
    """Runs the steps of a training run; see `mamtra.distill.api.open_trainer`.

    Args:
        setup: the parts of the run.
        observer: measures more than the cross entropy.
        listener: gets every line of the log.
        ticker: gets the progress.

    Attributes:
        step: steps that are done.
        steps: steps of the whole run.
        measured: results of the last validation.
        observer: see above.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        observer: Observer | None = None,
        listener: Listener | None = None,
        ticker: Ticker | None = None,
    ) -> None:
        self.setup, self.config, self.out = setup, setup.config, Path(setup.config.out)
        self.observer, self._listener, self._ticker = observer, listener, ticker
        self._processes, self._sharding, self._optimiser = setup.processes, setup.sharding, setup.optimiser
        self.steps, self.step, self._elapsed = setup.steps, 0, 0.0
        self._position = setup.loader.position.state()
        self.measured: dict[str, float] = {}
        self._measured_at = -1
        self._teacher_ce: float | None = None
        self._log_file: TrainingLog | None = None
        self._interrupt = InterruptLatch(active=self._processes.world == 1, tell=self._tell_of_interrupt)

    @property
    def parameters(self) -> int:
        """Of the student."""
        return sum(p.numel() for p in self.setup.student.parameters())

    def run(self) -> Path:
        """Train to the end.

        Returns:
            The directory of the trained student.

        Raises:
            MamTraError: a loss is not finite, memory or disk are full, or the corpus holds ids beyond the vocabulary.
            KeyboardInterrupt: Ctrl-C, after a checkpoint of the last step.
        """
        run, loader = self.config.run, self.setup.loader
        if self._processes.first:
            self._log_file = TrainingLog(self.out, self.step, self._measured_at, tensorboard=run.tensorboard)
        self._recent: deque[tuple[int, list[MicroBatch]]] = deque(maxlen=run.log_every + 1)
        self._began = time.perf_counter() - self._elapsed
        self._since, self._tokens = time.perf_counter(), 0
        if self.step == 0:
            self._write("start", parameters=self.parameters, steps=self.steps, utterances=len(self.setup.corpus.rows),
                        left_out=loader.sampler.left_out, epoch_batches=len(loader.sampler.epoch(0)))  # fmt: skip
        if run.compile or (run.cuda_graph and self._processes.device.type == "cuda"):
            self.note(f"Compiling or capturing steps of {len(loader.sampler.lengths)} bucket lengths comes first.")
        smaller = (
            f"lower batch.tokens (now {self.config.batch.tokens}) and raise batch.accumulation in return, lower run.loss_chunk, "
            "or set run.gradient_checkpointing to true"
        )
        try:
            with memory_advice(smaller):
                self.setup.train_step.capture(loader.sampler.lengths)
                with self._interrupt, closing(loader.steps()) as inputs:
                    self._loop(inputs)
                student = self._export()
            self._processes.wait()
            return student
        finally:
            if self._log_file is not None:
                self._log_file.close()

    def _loop(self, inputs: Iterator[StepInputs]) -> None:
        run = self.config.run
        if self.step == 0 and run.validate_every:
            self.note("Validating before the first step.")
            self._validate()
        while self.step < self.steps and (progress := self._progress()) < 1:
            rate = self._one_step(next(inputs), progress)
            last = self.step == self.steps
            if self.step % run.log_every == 0 or last:
                self._log(rate)
            elif self._processes.device.type == "cpu":
                self._check()
            if run.validate_every and self.step % run.validate_every == 0 and not last:
                self._validate()
            interrupted = self._interrupt.requested  # read once: what is told to be saved must be
            if interrupted or (run.save_every and self.step % run.save_every == 0 and not last):
                self._save()
            if interrupted:
                raise KeyboardInterrupt(f"step {self.step} is saved; go on with --resume.")
            if self._ticker is not None:
                self._ticker(self.step, self.steps)
        self._check()
        if self._measured_at != self.step:
            self._validate()
        self._save()

    def note(self, text: str) -> None:
        """Tell the listener what takes long or is out of the ordinary; the log does not hold it."""
        if self._listener is not None and self._processes.first:
            self._listener({"kind": "note", "step": self.step, "text": text})

    def _tell_of_interrupt(self) -> None:
        self.note(f"Ending after step {self.step + 1}, which will be saved; Ctrl-C again ends at once and loses it.")

    def _one_step(self, inputs: StepInputs, progress: float) -> float:
        """Forward, backward and update; returns the learning rate."""
        phase, step = self._phase(self.step), self.setup.train_step
        aligning = phase in ("matrix", "hidden")
        rate = self.config.alignment.lr if aligning else self._optimiser.rate(min(1.0, progress + 0.5 / self.steps))
        self._optimiser.set_rate(rate, mixers_only=aligning)
        self._recent.append((self.step, inputs.batches))
        if phase == "policy":
            inputs = self.setup.loader.on_policy(inputs, self._sharding.whole(self.setup.student))
        for micro_batch in inputs.inputs:
            step.add(phase, micro_batch)
        self._sharding.add(self._optimiser.gradient)
        step.update()
        step.counts[phase] += 1
        self.step += 1
        self._tokens += inputs.targets
        self._position = inputs.after
        return rate

    def _phase(self, step: int) -> Phase:
        """The kind of a step, a function of its number and the seed."""
        if step < self.config.alignment.matrix_steps:
            return "matrix"
        if step < self.setup.alignment_steps:
            return "hidden"
        fraction = self.config.on_policy.fraction
        on_policy = fraction and np.random.default_rng([self.config.run.seed, step, 3]).random() < fraction
        return "policy" if on_policy else "train"

    def _progress(self) -> float:
        before = self.setup.alignment_steps
        by_steps = max(0, self.step - before) / (self.steps - before)
        minutes = self.config.run.minutes
        if minutes is None:
            return by_steps
        by_time = (time.perf_counter() - self._began) / (60 * minutes)
        if self._processes.world == 1:
            return max(by_steps, by_time)
        clock = torch.tensor([by_time if self._processes.first else 0.0], device=self._processes.device)
        self._processes.add(clock)  # all processes follow the clock of the first
        return max(by_steps, float(clock))

    def _check(self) -> None:
        failed = int(self._optimiser.failed_at)
        if failed < 0:
            return
        batches = next((b for step, b in self._recent if step == failed), [])
        names = "; ".join(f"epoch {b.epoch} batch {b.number} (utterances {_describe_rows(b)})" for b in batches)
        found = checkpoints(self.out)
        kept = f"{found[-1]} is the last good checkpoint" if found else "there is no checkpoint yet"
        raise MamTraError(
            f"The loss or its gradient is not finite in step {failed + 1}: {names or 'unknown batch'}. Training has "
            f"stopped, {kept}; lower optimizer.lr or optimizer.clip, or look at these utterances."
        )

    def _log(self, rate: float) -> None:
        self._check()
        self._processes.add(self.setup.train_step.sums)
        values = self.setup.train_step.means()
        now = time.perf_counter()
        speed = self._tokens / max(1e-9, now - self._since)
        memory = torch.cuda.max_memory_allocated() if self._processes.device.type == "cuda" else 0
        self._write("train", **values, norm=float(self._optimiser.norm), lr=rate, tokens_per_second=round(speed, 1),
                    memory_bytes=memory, minutes=round((now - self._began) / 60, 4))  # fmt: skip
        self._since, self._tokens = now, 0

    def _validate(self) -> None:
        values: dict[str, float] = {}
        validation, teacher = self.setup.validation, self.setup.teacher
        self.setup.student.eval()
        with self._optimiser.averaged():
            student = self._sharding.whole(self.setup.student)
            if not validation.empty:
                values["ce"] = validation.cross_entropy(student)
                if teacher is not None:
                    if self._teacher_ce is None:
                        self._teacher_ce = validation.cross_entropy(self._sharding.whole(teacher))
                    values["teacher_ce"] = self._teacher_ce
            if self.observer is not None and self._processes.first:
                values |= self.observer(student, self.step)
        self.setup.student.train()
        self._processes.wait()
        if values:
            self._write("validation", **values)
            self.measured = values
        self._measured_at = self.step
        self._since, self._tokens = time.perf_counter(), 0

    def _save(self) -> None:
        self._check()
        sums = self.setup.train_step.sums
        if self._processes.world > 1:
            self._processes.add(sums)  # a checkpoint has the sum over all processes
            if not self._processes.first:
                sums.zero_()
        student, moments = self._sharding.weights(self.setup.student), self._optimiser.state()
        if self._processes.first:
            state = RunState(
                step=self.step,
                position=Position(**self._position),
                elapsed=time.perf_counter() - self._began,
                counts=self.setup.train_step.counts,
                measured=Measured(step=self._measured_at, values=self.measured),
                settings=self.config.fingerprint(),
            )
            optimizer = moments | {"sums": sums, "random": torch.get_rng_state()}
            if self._processes.device.type == "cuda":
                optimizer["random_cuda"] = torch.cuda.get_rng_state(self._processes.device)
            save_checkpoint(self.out, Checkpoint(state, student, optimizer), self.config.run.keep)
        self._processes.wait()

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            MamTraError: it is of another student.
        """
        train_step, device, state = self.setup.train_step, self._processes.device, saved.state
        try:
            self._sharding.load(self.setup.student, saved.student)
            self._optimiser.restore(saved.optimizer)
            if self._processes.first:
                train_step.sums.copy_(saved.optimizer["sums"])
            torch.set_rng_state(saved.optimizer["random"])
            if device.type == "cuda" and "random_cuda" in saved.optimizer:
                torch.cuda.set_rng_state(saved.optimizer["random_cuda"], device)
        except (KeyError, RuntimeError) as error:
            raise MamTraError(f"The latest checkpoint of {self.out} does not fit this student; remove it.") from error
        self.step, self._elapsed, train_step.counts = state.step, state.elapsed, dict(state.counts)
        self.measured, self._measured_at = state.measured.values, state.measured.step
        self._position = dict(state.position)
        self.setup.loader.position.restore(self._position)

    def _export(self) -> Path:
        batch = self.config.batch
        about = {
            "settings": self.config.model_dump(mode="json"),
            "steps": self.step,
            "epochs": round(self.step * batch.accumulation / len(self.setup.loader.sampler.epoch(0)), 3),
            "minutes": round((time.perf_counter() - self._began) / 60, 3),
            "utterances": len(self.setup.corpus.rows),
            "validation": self.measured,
            "device": str(self._processes.device),
            "processes": self._processes.world,
        }
        directory = self.out
        with self._optimiser.averaged():
            student = self._sharding.whole(self.setup.student)
            if self._processes.first:
                bistream = batch.layout != "unistream"
                began = self.setup.initial.directory
                directory = write_student(self.out, began, "lm", student, about, generation={"bistream": bistream})
        self._write("end", minutes=about["minutes"], steps=self.step)
        return directory

    def _write(self, kind: str, **values: float | int) -> None:
        if self._log_file is None:
            return
        line = self._log_file.write(kind, self.step, **values)
        if self._listener is not None:
            self._listener(line)


def _describe_rows(batch: MicroBatch, most: int = 8) -> str:
    rows = [str(row) for members in batch.members for row in members]
    return ", ".join(rows[:most]) + (f" and {len(rows) - most} more" if len(rows) > most else "")
