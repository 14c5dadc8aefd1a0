"""Cells side by side: some processes train, others let students speak and listen, and what is done stays done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from mamtra.errors import MamTraError
from mamtra.evaluate.score_file import read_scores
from mamtra.experiments.cells import Cell
from mamtra.experiments.make import HELD_OUT, SCORES, forget_student, lines_of, listen_to, make_student
from mamtra.experiments.settings import ListenSettings


class Event(NamedTuple):
    """Something is done, or has failed and says why."""

    cell: str
    what: Literal["made", "heard", "failed"]
    why: str = ""


def is_done(folder: Path, listen: ListenSettings | None) -> bool:
    """Whether cross entropies are there and all of the set is judged."""
    if listen is None:
        return (folder / HELD_OUT).is_file()
    path = folder / SCORES
    return (
        (folder / HELD_OUT).is_file() and path.is_file() and len(read_scores(path).rows) == len(lines_of(listen).lines)
    )


def run_cells(
    cells: Sequence[Cell],
    work: Path,
    listen: ListenSettings | None,
    *,
    side_by_side: int = 1,
    listeners: int = 1,
    keep: bool = False,
) -> Iterator[Event]:
    """Make and hear every cell that is not done yet; a cell that fails does not stop the others.

    Args:
        cells: equal ones are made once.
        work: folder of the cells' folders.
        listen: what they say and who listens.
        side_by_side: processes that train; they share the device.
        listeners: processes that let students speak and judge them. With 1 and 1 everything runs in this process.
        keep: keep the students' weights.
    """
    waiting = list({cell.name: cell for cell in cells if not is_done(work / cell.name, listen)}.values())
    if side_by_side == listeners == 1:
        for cell in waiting:
            yield from _one_by_one(cell, work / cell.name, listen, keep)
        return
    context = get_context("spawn")
    with (
        # a fresh process for every training: what graphs hold on the device goes with it
        ProcessPoolExecutor(side_by_side, context, _start, max_tasks_per_child=1) as makers,
        ProcessPoolExecutor(listeners, context, _start) as ears,
    ):
        running: dict[Future, tuple[Cell, Literal["made", "heard"]]] = {}

        for cell in waiting:
            running[makers.submit(make_student, cell, work / cell.name)] = cell, "made"
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                cell, what = running.pop(done)
                folder = work / cell.name
                if (error := done.exception()) is not None:
                    yield Event(cell.name, "failed", _why(error))
                    continue
                if what == "made" and listen is not None:
                    running[ears.submit(listen_to, cell, folder, listen)] = cell, "heard"
                elif not keep:
                    forget_student(folder)
                yield Event(cell.name, what)


def _one_by_one(cell: Cell, folder: Path, listen: ListenSettings | None, keep: bool) -> Iterator[Event]:
    try:
        make_student(cell, folder)
        yield Event(cell.name, "made")
        if listen is not None:
            listen_to(cell, folder, listen)
            yield Event(cell.name, "heard")
    except MamTraError as error:
        yield Event(cell.name, "failed", str(error))
    else:
        if not keep:
            forget_student(folder)


def _start() -> None:
    torch.set_num_threads(1)


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, MamTraError) else f"{type(error).__name__}: {error}"
