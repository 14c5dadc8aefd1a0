"""Cells side by side: some processes train, some let students speak, others listen, and what is done stays done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from mamtra.errors import MamTraError
from mamtra.paper.runs import Cell
from mamtra.paper.stages import Stage, forget_student, let_speak, listen_to, make_student, next_stage, on_device

_DO = {"make": make_student, "speak": let_speak, "listen": listen_to}
_DONE: dict[Stage, Literal["made", "spoken", "heard"]] = {"make": "made", "speak": "spoken", "listen": "heard"}


class Event(NamedTuple):
    """Something is done, or has failed and says why."""

    cell: str
    what: Literal["made", "spoken", "heard", "failed"]
    why: str = ""


def run_cells(
    cells: Sequence[Cell],
    work: Path,
    *,
    side_by_side: int = 1,
    listeners: int = 1,
    devices: Sequence[str | None] = (None,),
    keep: bool = False,
) -> Iterator[Event]:
    """Make, let speak and hear every cell that is not done yet; a cell that fails does not stop the others.

    Args:
        cells: equal ones are made once.
        work: folder of the cells' folders.
        side_by_side: processes that train, and as many again that let students speak; they share the device.
        listeners: processes that judge what was said; with 0 that is left to a later run. With 1 and 1 everything
            runs in this process.
        keep: keep the students' weights.
    """
    waiting = {cell.name: cell for cell in cells}
    if side_by_side == 1 and listeners <= 1:
        for cell in waiting.values():
            yield from _one_by_one(on_device(cell, devices[0]), work / cell.name, listeners > 0, keep)
        return
    context = get_context("spawn")
    with (
        # a fresh process for every training and every speaker: what graphs hold on the device goes with it, and so does what a
        # recording leaves behind that failed for want of memory, after which a process can record no more
        ProcessPoolExecutor(side_by_side, context, _start, max_tasks_per_child=1) as makers,
        ProcessPoolExecutor(side_by_side, context, _start, max_tasks_per_child=1) as speakers,
        ProcessPoolExecutor(max(1, listeners), context, _start) as ears,
    ):
        turns = {stage: cycle(devices) for stage in _DO}
        pools = {"make": makers, "speak": speakers, "listen": ears if listeners else None}
        running: dict[Future, tuple[Cell, Stage]] = {}

        def go_on(cell: Cell) -> None:
            stage = next_stage(cell, work / cell.name)
            if stage in (None, "listen") and not keep:
                forget_student(work / cell.name)
            if stage is not None and pools[stage] is not None:
                there = on_device(cell, next(turns[stage]))
                running[pools[stage].submit(_DO[stage], there, work / cell.name)] = cell, stage

        for cell in waiting.values():
            go_on(cell)
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                cell, stage = running.pop(done)
                if (error := done.exception()) is not None:
                    yield Event(cell.name, "failed", _why(error))
                    continue
                go_on(cell)
                yield Event(cell.name, _DONE[stage])


def _one_by_one(cell: Cell, folder: Path, listen: bool, keep: bool) -> Iterator[Event]:
    try:
        while (stage := next_stage(cell, folder)) is not None and (listen or stage != "listen"):
            _DO[stage](cell, folder)
            yield Event(cell.name, _DONE[stage])
    except MamTraError as error:
        yield Event(cell.name, "failed", str(error))
    else:
        if not keep:
            forget_student(folder)


def _start() -> None:
    torch.set_num_threads(1)


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, MamTraError) else f"{type(error).__name__}: {error}"
