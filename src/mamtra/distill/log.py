"""The log of a training run: one JSON object a line, and TensorBoard events if they are wanted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.line_files import LineFile, json_line, read_whole_lines

LOG = "log.jsonl"
_OLD_KINDS = ("held_out",)
"""Kinds of lines that versions wrote whose checkpoints cannot be resumed."""


def read_log(out: Path) -> list[dict[str, Any]]:
    """Lines of the log of a training run; one that a crash has damaged is left out.

    Raises:
        MamTraError: an older version wrote it.
    """
    path = out / LOG
    found = []
    for line in read_whole_lines(path):
        if not isinstance(line, dict) or not isinstance(line.get("kind"), str) or type(line.get("step")) is not int:
            continue
        if line.get("kind") in _OLD_KINDS:
            raise MamTraError(f"{path} is the log of an older version of mamtra; train in another folder.")
        found.append(line)
    return found


class TrainingLog:
    """Appends to the log.

    Args:
        out: folder of the training run.
        step: from which the run goes on; lines of later steps, and of the end of the run, are removed.
        validated: the last step whose validation the run knows of; lines of later ones are removed.
        tensorboard: write events too.

    Raises:
        MamTraError: TensorBoard is wanted and not installed.
    """

    def __init__(self, out: Path, step: int = 0, validated: int = -1, *, tensorboard: bool = False) -> None:
        ends = {"validation": validated, "end": -1}
        kept = [line for line in read_log(out) if line["step"] <= ends.get(line["kind"], step)] if step else []
        self._file = LineFile(out / LOG, lambda: map(json_line, kept))
        self._file.begin()
        self._board = _board(out, step) if tensorboard else None

    def write(self, kind: str, step: int, **values: float | int | str) -> dict[str, Any]:
        """Append a line and return it. Numbers that are not finite become None."""
        line = {"kind": kind, "step": step, **values}
        line = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        self._file.append(json_line(line))
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)
        return line

    def close(self) -> None:
        """Close the events."""
        if self._board is not None:
            self._board.close()


def _board(out: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MamTraError(
            "run.tensorboard needs TensorBoard; run `pip install tensorboard` or set it to false."
        ) from error
    return SummaryWriter(str(out / "tensorboard"), purge_step=step or None)
