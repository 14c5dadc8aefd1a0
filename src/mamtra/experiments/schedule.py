"""Cells side by side: some processes train and speak, others listen, and what is done stays done."""

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
from mamtra.experiments.make import HELD_OUT, SCORES, SOUND, lines_of, listen_to, make_student
from mamtra.experiments.settings import ListenSettings


class Event(NamedTuple):
    """Something is done, or has failed and says why."""

    cell: str
    what: Literal["made", "heard", "failed"]
    why: str = ""


def is_made(folder: Path, listen: ListenSettings | None) -> bool:
    """Whether training, cross entropies and sound are there."""
    return (folder / HELD_OUT).is_file() and (
        listen is None or (folder / SOUND).is_dir() or (folder / SCORES).is_file()
    )


def is_heard(folder: Path, listen: ListenSettings | None) -> bool:
    """Whether all of the set is judged."""
    if listen is None:
        return is_made(folder, None)
    path = folder / SCORES
    return path.is_file() and len(read_scores(path).rows) == len(lines_of(listen).lines)


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
        side_by_side: processes that train and speak; they share the device.
        listeners: processes that judge. With 1 and 1 everything runs in this process.
        keep: keep the students' weights.
    """
    waiting = list({cell.name: cell for cell in cells if not is_heard(work / cell.name, listen)}.values())
    if side_by_side == listeners == 1:
        for cell in waiting:
            yield from _one_by_one(cell, work / cell.name, listen, keep)
        return
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(side_by_side, context, _start) as makers,
        ProcessPoolExecutor(listeners, context, _start) as ears,
    ):
        running: dict[Future, tuple[Cell, Literal["made", "heard"]]] = {}

        def hear(cell: Cell) -> None:
            if listen is not None:
                running[ears.submit(listen_to, cell, work / cell.name, listen)] = cell, "heard"

        for cell in waiting:
            if is_made(work / cell.name, listen):
                hear(cell)
            else:
                running[makers.submit(make_student, cell, work / cell.name, listen, keep=keep)] = cell, "made"
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                cell, what = running.pop(done)
                if (error := done.exception()) is not None:
                    yield Event(cell.name, "failed", _why(error))
                    continue
                yield Event(cell.name, what)
                if what == "made":
                    hear(cell)


def _one_by_one(cell: Cell, folder: Path, listen: ListenSettings | None, keep: bool) -> Iterator[Event]:
    try:
        if not is_made(folder, listen):
            make_student(cell, folder, listen, keep=keep)
            yield Event(cell.name, "made")
        if listen is not None:
            listen_to(cell, folder, listen)
            yield Event(cell.name, "heard")
    except MamTraError as error:
        yield Event(cell.name, "failed", str(error))


def _start() -> None:
    torch.set_num_threads(1)


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, MamTraError) else f"{type(error).__name__}: {error}"
