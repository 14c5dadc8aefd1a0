"""The training loop: the same steps on any number of processes, and the same weights whatever interrupts it."""

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
from mamtra.distill.checkpoints import Checkpoint, checkpoints, load_checkpoint, save_checkpoint
from mamtra.distill.compile import compile_layers, enable_triton
from mamtra.distill.config import DistillConfig
from mamtra.distill.distill_loss import halve_matrices
from mamtra.distill.distributed import Processes
from mamtra.distill.export import write_student
from mamtra.distill.loader import Feed, Share
from mamtra.distill.log import Journal
from mamtra.distill.optimiser import Optimiser
from mamtra.distill.settings import AlignmentSettings
from mamtra.distill.setup import (
    check_corpus,
    check_pair,
    make_student,
    open_corpus,
    open_speech_lm,
    read_weights,
)
from mamtra.distill.sharding import Placement
from mamtra.distill.teacher_cache import TeacherCache, open_cache
from mamtra.distill.train_step import Gradients, Way
from mamtra.distill.validation import HeldOut
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM

Observer = Callable[[SpeechLM, int], dict[str, float]]
"""Called at every evaluation with the student, as it would be kept, and the step; what it returns is logged."""
Listener = Callable[[dict[str, Any]], None]
"""Called with every line of the log."""


class Trainer:
    """One distillation.

    Args:
        config: settings.
        resume: go on from the latest checkpoint, where there is one.
        processes: of this training; as torchrun says by default.
        observer: measures more than the cross entropy.
        listener: hears of every line of the log.

    Attributes:
        step: steps that are done.
        steps: steps that there will be.
        student: the model that learns.
        began: the directory that it began as.
        observer: see above.

    Raises:
        MamTraError: models, corpus and settings do not fit, the folder holds another training, or a device is missing.
    """

    def __init__(
        self,
        config: DistillConfig,
        *,
        resume: bool = False,
        processes: Processes | None = None,
        observer: Observer | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.config, self.out, self.observer, self._listener = config, Path(config.out), observer, listener
        self.processes = processes or Processes.join(config.run.device)
        found = checkpoints(self.out)
        if found and not resume:
            raise MamTraError(
                f"{self.out} holds a training already; go on with --resume, or name another folder in out."
            )
        saved = load_checkpoint(found[-1]) if found else None
        if saved is not None:
            _same_settings(saved.state["settings"], config.what_decides(), self.out)
        self._open(config)
        self.step, self._elapsed = 0, 0.0
        self._position_after = self.feed.position.state()
        self.measured: dict[str, float] = {}
        if saved is not None:
            self._take(saved)

    def _open(self, config: DistillConfig) -> None:
        stored = open_speech_lm(config.teacher.model)
        self.corpus = open_corpus(config.data)
        check_corpus(self.corpus.train.manifest, config.data.train, stored)
        if self.processes.first:
            self.began = make_student(config, stored)
        self.processes.wait()
        if not self.processes.first:
            self.began = make_student(config, stored)
        check_pair(stored.config, self.began.config, config.losses)
        data, batch, run = self.corpus.train, config.batch, config.run
        needed = config.losses.logits_weight or config.losses.emb_weight or config.alignment != AlignmentSettings()
        self.teacher = read_weights(stored) if needed else None
        self.placement = Placement(self.processes, split=run.parallel == "fsdp")
        self.student = self.placement.put(read_weights(self.began)).train()
        self._teacher_ce: float | None = None
        if self.teacher is not None:
            if run.precision == "bf16":
                halve_matrices(self.teacher)
            self.placement.put(self.teacher)
        self.cache: TeacherCache | None = open_cache(config, stored, self.corpus, self.processes)
        self.feed = Feed(config, data, self.corpus.rows, self.student, self.cache, self.processes)
        lengths = self.feed.sampler.lengths if self.feed.fixed else None
        self._held_out = HeldOut(
            self.corpus, self.student, run.evaluate_utterances, batch.tokens, self.processes, run.precision, lengths
        )
        self.optimiser = Optimiser(self.student, config.optimizer, self.placement)
        self._before = config.alignment.matrix_steps + config.alignment.hidden_steps
        self.gradients = Gradients(config, self.student, self.teacher, self.optimiser, self.cache, self.placement)
        self.student.model.checkpointing = run.gradient_checkpointing
        models = [lm for lm in (self.student, self.teacher) if lm is not None]
        if run.kernels:
            for lm in models:
                enable_triton(lm, self.processes.device)
        if run.compile:
            compile_layers(*models)
        proper = run.steps or max(1, round(run.epochs * len(self.feed.sampler.epoch(0)) / batch.accumulation))
        self.steps = self._before + proper

    @property
    def parameters(self) -> int:
        """Of the student."""
        return sum(p.numel() for p in self.student.parameters())

    def run(self) -> Path:
        """Train to the end.

        Returns:
            The directory of the trained student.

        Raises:
            MamTraError: a loss is no number, memory or disk are full, or the corpus holds ids outside its bounds.
        """
        first, run = self.processes.first, self.config.run
        self._journal = Journal(self.out, self.step, tensorboard=run.tensorboard) if first else None
        self._recent: deque[tuple[int, list[MicroBatch]]] = deque(maxlen=run.log_every + 1)
        self._began = time.perf_counter() - self._elapsed
        self._since, self._seen = time.perf_counter(), 0
        if self.step == 0:
            self._say("start", parameters=self.parameters, steps=self.steps, utterances=len(self.corpus.rows),
                      left_out=self.feed.sampler.left_out, epoch_batches=len(self.feed.sampler.epoch(0)))  # fmt: skip
        try:
            self.gradients.record(self.feed.sampler.lengths)
            with closing(self.feed.shares()) as shares:
                self._loop(shares)
            place = self._finish()
            self.processes.wait()
            return place
        except torch.OutOfMemoryError as error:
            raise MamTraError(
                f"The device ran out of memory; lower batch.tokens (now {self.config.batch.tokens}) and raise "
                "batch.accumulation in return, lower run.loss_chunk, or set run.gradient_checkpointing to true."
            ) from error
        finally:
            if self._journal is not None:
                self._journal.close()

    def _loop(self, shares: Iterator[Share]) -> None:
        run = self.config.run
        if self.step == 0 and run.evaluate_every:
            self._evaluate()
        while self.step < self.steps:
            progress = self._progress()
            if progress >= 1:
                break
            way = self._way(self.step)
            if way in ("matrix", "hidden"):
                rate = self.config.alignment.lr
            else:
                rate = self.optimiser.rate(min(1.0, progress + 0.5 / self.steps))
            self.optimiser.set_rate(rate, mixers_alone=way in ("matrix", "hidden"))
            share = next(shares)
            self._recent.append((self.step, share.batches))
            if way == "policy":
                share = self.feed.spoken(share, self.placement.whole(self.student))
            for inputs in share.inputs:
                self.gradients.add(way, inputs)
            self.placement.add(self.optimiser.gradient)
            self.gradients.update()
            self.step += 1
            self._seen += share.targets
            self.gradients.counts[way] += 1
            self._position_after = share.after
            last = self.step == self.steps
            if self.step % run.log_every == 0 or last:
                self._log(rate)
            elif self.processes.device.type == "cpu":
                self._check()
            if run.evaluate_every and self.step % run.evaluate_every == 0 and not last:
                self._evaluate()
            if run.save_every and self.step % run.save_every == 0 and not last:
                self._save()
        self._check()
        self._evaluate()
        self._save()

    def _way(self, step: int) -> Way:
        """What a step is made of; it depends on its number and the seed alone."""
        if step < self.config.alignment.matrix_steps:
            return "matrix"
        if step < self._before:
            return "hidden"
        share = self.config.on_policy.share
        return (
            "policy" if share and np.random.default_rng([self.config.run.seed, step, 3]).random() < share else "train"
        )

    def _progress(self) -> float:
        by_steps = max(0, self.step - self._before) / (self.steps - self._before)
        minutes = self.config.run.minutes
        if minutes is None:
            return by_steps
        by_time = (time.perf_counter() - self._began) / (60 * minutes)
        if self.processes.world == 1:
            return max(by_steps, by_time)
        found = torch.tensor([by_time if self.processes.first else 0.0], device=self.processes.device)
        self.processes.add(found)  # one clock for all
        return max(by_steps, float(found))

    def _check(self) -> None:
        failed = int(self.optimiser.failed_at)
        if failed < 0:
            return
        batches = next((b for step, b in self._recent if step == failed), [])
        names = "; ".join(f"epoch {b.epoch} batch {b.number} (utterances {_few(b)})" for b in batches)
        found = checkpoints(self.out)
        stays = f"{found[-1]} is the last good checkpoint" if found else "there is no checkpoint yet"
        raise MamTraError(
            f"The loss or its gradient was not a number in step {failed + 1}: {names or 'unknown batch'}. Training has "
            f"stopped, {stays}; lower optimizer.lr or optimizer.clip, or look at these utterances."
        )

    def _log(self, rate: float) -> None:
        self._check()
        self.processes.add(self.gradients.sums)
        values = self.gradients.means()
        now = time.perf_counter()
        speed = self._seen / max(1e-9, now - self._since)
        memory = torch.cuda.max_memory_allocated() if self.processes.device.type == "cuda" else 0
        self._say("train", **values, norm=float(self.optimiser.norm), lr=rate, tokens_per_second=round(speed, 1),
                  memory_bytes=memory, minutes=round((now - self._began) / 60, 4))  # fmt: skip
        self._since, self._seen = now, 0

    def _evaluate(self) -> None:
        values: dict[str, float] = {}
        self.student.eval()
        with self.optimiser.averaged():
            student = self.placement.whole(self.student)
            if not self._held_out.empty:
                values["ce"] = self._held_out.cross_entropy(student)
                if self.teacher is not None:
                    if self._teacher_ce is None:
                        self._teacher_ce = self._held_out.cross_entropy(self.placement.whole(self.teacher))
                    values["teacher_ce"] = self._teacher_ce
            if self.observer is not None and self.processes.first:
                values |= self.observer(student, self.step)
        self.student.train()
        self.processes.wait()
        if values:
            self._say("held_out", **values)
            self.measured = values
        self._since, self._seen = time.perf_counter(), 0

    def _save(self) -> None:
        self._check()
        if self.processes.world > 1:
            self.processes.add(self.gradients.sums)  # only the sum over all is kept
            if not self.processes.first:
                self.gradients.sums.zero_()
        student, moments = self.placement.weights(self.student), self.optimiser.state()
        if self.processes.first:
            state = {
                "step": self.step,
                "position": self._position_after,
                "elapsed": time.perf_counter() - self._began,
                "counts": self.gradients.counts,
                "settings": self.config.what_decides(),
            }
            optimizer = moments | {"sums": self.gradients.sums, "random": torch.get_rng_state()}
            if self.processes.device.type == "cuda":
                optimizer["random_cuda"] = torch.cuda.get_rng_state(self.processes.device)
            save_checkpoint(self.out, Checkpoint(state, student, optimizer), self.config.run.keep)
        self.processes.wait()

    def _take(self, saved: Checkpoint) -> None:
        """Go on where a checkpoint was made."""
        try:
            self.placement.load(self.student, saved.student)
            self.optimiser.restore(saved.optimizer)
            if self.processes.first:
                self.gradients.sums.copy_(saved.optimizer["sums"])
            torch.set_rng_state(saved.optimizer["random"])
            if self.processes.device.type == "cuda" and "random_cuda" in saved.optimizer:
                torch.cuda.set_rng_state(saved.optimizer["random_cuda"], self.processes.device)
        except (KeyError, RuntimeError) as error:
            raise MamTraError(f"The latest checkpoint of {self.out} does not fit this student; remove it.") from error
        self.step, self._elapsed = saved.state["step"], saved.state["elapsed"]
        self.gradients.counts = saved.state["counts"]
        self.feed.position.restore(saved.state["position"])
        self._position_after = saved.state["position"]

    def _finish(self) -> Path:
        about = {
            "settings": self.config.model_dump(mode="json"),
            "steps": self.step,
            "epochs": round(self.step * self.config.batch.accumulation / len(self.feed.sampler.epoch(0)), 3),
            "minutes": round((time.perf_counter() - self._began) / 60, 3),
            "utterances": len(self.corpus.rows),
            "held_out": self.measured,
            "device": str(self.processes.device),
            "processes": self.processes.world,
        }
        with self.optimiser.averaged():
            student = self.placement.whole(self.student)
            bistream = self.config.batch.layout != "unistream"
            place = self.out
            if self.processes.first:
                place = write_student(self.out, self.began, student, about, bistream=bistream)
        self._say("end", minutes=about["minutes"], steps=self.step)
        return place

    def _say(self, kind: str, **values: float | int) -> None:
        if self._journal is None:
            return
        line = self._journal.write(kind, self.step, **values)
        if self._listener is not None:
            self._listener(line)


def distill(config: DistillConfig, *, resume: bool = False, **hooks: Any) -> Path:
    """Train a student from start to end; see `Trainer`.

    Returns:
        The directory of the trained student.

    Raises:
        MamTraError: see `Trainer` and `Trainer.run`.
    """
    trainer = Trainer(config, resume=resume, **hooks)
    return trainer.run()


def _same_settings(saved: dict[str, Any], mine: dict[str, Any], out: Path, place: str = "") -> None:
    for name in sorted({*saved, *mine}):
        here = f"{place}{name}"
        one, other = saved.get(name), mine.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            _same_settings(one, other, out, f"{here}.")
        elif one != other and here not in ("run.steps", "run.epochs", "run.minutes"):
            raise MamTraError(
                f"The training in {out} has {here} {one!r}, not {other!r}; go on with its settings or use another folder."
            )


def _few(batch: MicroBatch, most: int = 8) -> str:
    rows = [str(row) for members in batch.members for row in members]
    return ", ".join(rows[:most]) + (f" and {len(rows) - most} more" if len(rows) > most else "")
