"""Distillation from Python: what `mamtra distill` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamtra.distill.checkpoints import check_same_settings, checkpoints, load_checkpoint
from mamtra.distill.config import DistillConfig, parse_config, read_config
from mamtra.distill.distributed import Processes
from mamtra.distill.log import read_log
from mamtra.distill.run_report import write_run_report
from mamtra.distill.setup import Setup, set_up
from mamtra.distill.trainer import Listener, Observer, Ticker, Trainer
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.locks import directory_lock

COMPILE_ON_CPU = (
    "run.compile on a CPU compiles every layer kind for every bucket length, minutes each before a step is done, and gains "
    "little; set it to false."
)


@dataclass(frozen=True)
class Distilled:
    """A finished training run.

    Attributes:
        student: directory of the trained model.
        report: HTML file with the curves, None on all processes but the first.
        steps: optimiser steps.
        parameters: of the student.
        validation: results of the last validation: ``ce``, ``teacher_ce``, and what the observer measured.
        train: last line of the training losses.
    """

    student: Path
    report: Path | None
    steps: int
    parameters: int
    validation: dict[str, float]
    train: dict[str, float]


@checked
def distill(
    config: DistillConfig | Mapping[str, Any] | str | os.PathLike,
    *changes: str,
    resume: bool = False,
    observer: Observer | None = None,
    listener: Listener | None = None,
    ticker: Ticker | None = None,
    make_observer: Callable[[Setup], Observer] | None = None,
) -> Distilled:
    """Train a student from start to end.

    Args:
        config: YAML file, nested dictionary, or settings.
        changes: ``key=value`` with dotted keys, such as ``"optimizer.lr=2e-5"``, for a YAML file.
        resume: go on from the latest checkpoint if there is one.
        observer: called at every validation with the student and the step; the numbers that it returns are logged.
        listener: called with every line of the log.
        ticker: called after every step with the steps that are done and their total.
        make_observer: makes the observer once models and device are known, on the first process.

    Raises:
        MamTraError: another process trains in this folder; see `open_trainer` and `Trainer.run`.
    """
    settings = _settings(config, changes)
    processes = Processes.join(settings.run.device)
    try:
        with directory_lock(Path(settings.out), "training") if processes.first else nullcontext():
            trainer = open_trainer(settings, resume=resume, processes=processes, listener=listener, ticker=ticker)
            trainer.observer = observer
            if make_observer is not None and processes.first:
                trainer.observer = make_observer(trainer.setup)
            student = trainer.run()
            report = write_run_report(Path(settings.out)) if processes.first else None
    finally:
        processes.leave()
    last = {line["kind"]: line for line in read_log(Path(settings.out))}
    train, validation = (
        {k: v for k, v in last.get(kind, {}).items() if k not in ("kind", "step")} for kind in ("train", "validation")
    )
    return Distilled(student, report, trainer.step, trainer.parameters, validation, train)


@checked
def open_trainer(
    config: DistillConfig,
    *,
    resume: bool = False,
    processes: Processes | None = None,
    listener: Listener | None = None,
    ticker: Ticker | None = None,
) -> Trainer:
    """Open models and corpus, convert the student if that has not been done, and restore the latest checkpoint.

    Args:
        config: settings.
        resume: go on from the latest checkpoint if there is one.
        processes: of this run; as torchrun says by default.
        listener: see `distill`.
        ticker: see `distill`.

    Raises:
        MamTraError: models, corpus and settings do not match, the folder holds another training run, or there is no such device.
    """
    out = Path(config.out)
    processes = processes or Processes.join(config.run.device)
    found = checkpoints(out)
    if found and not resume:
        raise MamTraError(f"{out} holds a training already; go on with --resume, or name another folder in out.")
    saved = load_checkpoint(found[-1]) if found else None
    if saved is not None:
        check_same_settings(saved.state.settings, config.fingerprint(), out)
    trainer = Trainer(set_up(config, processes), listener=listener, ticker=ticker)
    if saved is not None:
        trainer.restore(saved)
        trainer.note(f"Going on after step {trainer.step}.")
    elif resume:
        trainer.note(f"{out} holds no checkpoint, so training starts with the first step.")
    if config.run.compile and processes.device.type == "cpu":
        trainer.note(COMPILE_ON_CPU)
    return trainer


def _settings(config: DistillConfig | Mapping[str, Any] | str | os.PathLike, changes: tuple[str, ...]) -> DistillConfig:
    if isinstance(config, str | os.PathLike):
        return read_config(config, changes)
    if changes:
        raise MamTraError("Changes go with a YAML file; change the dictionary or the settings themselves.")
    return config if isinstance(config, DistillConfig) else parse_config(dict(config))
