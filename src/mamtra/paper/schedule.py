"""Runs in parallel processes: some train, some synthesise, others score. Finished stages are not repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from mamtra.errors import MamTraError
from mamtra.paper.runs import Run
from mamtra.paper.stages import Stage, delete_weights, next_stage, on_device, score_speech, synthesise, train_student

Done = Literal["trained", "synthesised", "scored"]
_DO = {"train": train_student, "synthesise": synthesise, "score": score_speech}
_DONE: dict[Stage, Done] = {"train": "trained", "synthesise": "synthesised", "score": "scored"}


class Event(NamedTuple):
    """A stage has finished, or failed with a reason."""

    run: str
    what: Done | Literal["failed"]
    why: str = ""


def run_all(
    runs: Sequence[Run],
    work: Path,
    *,
    side_by_side: int = 1,
    scorers: int = 1,
    devices: Sequence[str | None] = (None,),
    keep: bool = False,
) -> Iterator[Event]:
    """Train, synthesise and score every run that is not finished; a run that fails does not stop the others.

    Args:
        runs: equal ones are trained once.
        work: folder of the runs' folders.
        side_by_side: processes that train, and as many again that synthesise; they share the device.
        scorers: processes that score; with 0 scoring is left to a later call. With 1 and 1 everything runs in this
            process.
        keep: keep the students' weights.
    """
    waiting = {run.name: run for run in runs}
    if side_by_side == 1 and scorers <= 1:
        for run in waiting.values():
            yield from _one_by_one(on_device(run, devices[0]), work / run.name, scorers > 0, keep)
        return
    context = get_context("spawn")
    with (
        # a new process for every training and synthesis: it frees the memory of CUDA graphs, and after a capture that ran out
        # of memory a process cannot capture again
        ProcessPoolExecutor(side_by_side, context, _start, max_tasks_per_child=1) as training,
        ProcessPoolExecutor(side_by_side, context, _start, max_tasks_per_child=1) as synthesis,
        ProcessPoolExecutor(max(1, scorers), context, _start) as scoring,
    ):
        turns = {stage: cycle(devices) for stage in _DO}
        pools = {"train": training, "synthesise": synthesis, "score": scoring if scorers else None}
        running: dict[Future, tuple[Run, Stage]] = {}

        def submit_next(run: Run) -> None:
            stage = next_stage(run, work / run.name)
            if stage in (None, "score") and not keep:
                delete_weights(work / run.name)
            if stage is not None and pools[stage] is not None:
                there = on_device(run, next(turns[stage]))
                running[pools[stage].submit(_DO[stage], there, work / run.name)] = run, stage

        for run in waiting.values():
            submit_next(run)
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                run, stage = running.pop(done)
                if (error := done.exception()) is not None:
                    yield Event(run.name, "failed", _why(error))
                    continue
                submit_next(run)
                yield Event(run.name, _DONE[stage])


def _one_by_one(run: Run, folder: Path, score: bool, keep: bool) -> Iterator[Event]:
    try:
        while (stage := next_stage(run, folder)) is not None and (score or stage != "score"):
            _DO[stage](run, folder)
            yield Event(run.name, _DONE[stage])
    except MamTraError as error:
        yield Event(run.name, "failed", str(error))
    else:
        if not keep:
            delete_weights(folder)


def _start() -> None:
    torch.set_num_threads(1)


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, MamTraError) else f"{type(error).__name__}: {error}"
