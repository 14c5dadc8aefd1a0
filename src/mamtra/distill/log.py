"""The log of a training: one JSON object a line, and TensorBoard events where they are wanted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text

LOG = "log.jsonl"


def read_log(out: Path) -> list[dict[str, Any]]:
    """Lines of a training's log; one that was cut off by a crash is left out."""
    path = out / LOG
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


class Journal:
    """Appends to the log.

    Args:
        out: folder of the training.
        step: where the training begins; lines of later steps, which a crash left behind, are dropped.
        tensorboard: write events too.

    Raises:
        MamTraError: TensorBoard is wanted and not installed.
    """

    def __init__(self, out: Path, step: int = 0, *, tensorboard: bool = False) -> None:
        kept = [line for line in read_log(out) if line["step"] <= step] if step else []
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / LOG, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = (out / LOG).open("a", encoding="utf-8")
        self._board = _board(out, step) if tensorboard else None

    def write(self, kind: str, step: int, **values: float | int | str) -> dict[str, Any]:
        """Append a line and return it. Numbers that JSON does not know become None."""
        line = {"kind": kind, "step": step, **values}
        line = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        self._put(line)
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)
        return line

    def close(self) -> None:
        """Nothing is written after it."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _put(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _board(out: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MamTraError(
            "run.tensorboard needs TensorBoard; run `pip install tensorboard` or set it to false."
        ) from error
    return SummaryWriter(str(out / "tensorboard"), purge_step=step or None)
