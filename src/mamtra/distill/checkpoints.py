"""Checkpoints of a training run: safetensors and JSON, written atomically; the oldest are removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import NonNegativeFloat, NonNegativeInt
from safetensors.torch import load_file, save_file
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.runtime.files import atomic_directory, check_readable, disk_is_full
from mamtra.runtime.json_files import read_json
from mamtra.runtime.strict_models import ClosedModel

FOLDER = "checkpoints"
_STATE, _STUDENT, _OPTIMIZER = "state.json", "student.safetensors", "optimizer.safetensors"


class Position(ClosedModel):
    """Where in the corpus a training run is: epoch, and number of the micro-batch."""

    epoch: NonNegativeInt
    number: NonNegativeInt


class Measured(ClosedModel):
    """Validation losses, and the step they were measured at; -1 before the first."""

    step: int
    values: dict[str, float]


class RunState(ClosedModel):
    """Numbers and settings of a training run.

    Attributes:
        step: steps that are done.
        position: of the next step in the corpus.
        elapsed: seconds of training.
        counts: steps since the last line of the log, by phase.
        measured: the latest validation.
        settings: those that decide the weights.
    """

    step: NonNegativeInt
    position: Position
    elapsed: NonNegativeFloat
    counts: dict[str, NonNegativeInt]
    measured: Measured
    settings: dict[str, Any]


class Checkpoint(NamedTuple):
    """Everything that a training run is resumed from.

    Attributes:
        state: numbers and settings.
        student: weights.
        optimizer: moments, averages, random states.
    """

    state: RunState
    student: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def checkpoints(out: Path) -> list[Path]:
    """Complete checkpoints of a training run, the latest last."""
    return sorted(path for path in (out / FOLDER).glob("step-*") if (path / _STATE).is_file() and path.suffix == "")


def save_checkpoint(out: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint beside the others, then remove the oldest.

    Args:
        out: folder of the training run.
        checkpoint: what to write.
        keep: number of checkpoints to keep.

    Raises:
        MamTraError: the disk is full or cannot be written; checkpoints that were there stay.
    """
    place = out / FOLDER / f"step-{checkpoint.state.step:08}"
    place.parent.mkdir(parents=True, exist_ok=True)
    size = sum(t.numel() * t.element_size() for part in checkpoint[1:] for t in part.values())
    try:
        with atomic_directory(place, replace=True) as partial:
            for name, tensors in ((_STUDENT, checkpoint.student), (_OPTIMIZER, checkpoint.optimizer)):
                save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial / name)
            (partial / _STATE).write_text(json.dumps(checkpoint.state.model_dump(), indent=1) + "\n", encoding="utf-8")
    except MamTraError as error:
        if not disk_is_full(error):
            raise
        raise MamTraError(
            f"The disk of {out} is full: a checkpoint needs {size / 1e9:.2f} GB; the last one stays. "
            "Make room and go on with --resume."
        ) from error
    for old in checkpoints(out)[:-keep]:
        shutil.rmtree(old)
    return place


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        MamTraError: it is damaged.
    """
    try:
        state = read_json(path / _STATE)
        if "measured" not in state:
            raise MamTraError(f"The checkpoint {path} was made by an older version of mamtra; train in another folder.")
        for name in (_STUDENT, _OPTIMIZER):
            check_readable(path / name)
        return Checkpoint(RunState(**state), load_file(path / _STUDENT), load_file(path / _OPTIMIZER))
    except MamTraError:
        raise
    except Exception as error:  # the library raises a class of its own
        raise MamTraError(f"The checkpoint {path} is damaged; remove it to go on from the one before.") from error


def check_same_settings(saved: dict[str, Any], mine: dict[str, Any], out: Path, section: str = "") -> None:
    """Refuse to resume with settings that lead to other weights; the length of the run may change.

    Raises:
        MamTraError: a setting of the checkpoint differs.
    """
    for name in sorted({*saved, *mine}):
        key = f"{section}{name}"
        one, other = saved.get(name), mine.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            check_same_settings(one, other, out, f"{key}.")
        elif one != other and key not in ("run.steps", "run.epochs", "run.minutes"):
            raise MamTraError(
                f"The training in {out} has {key} {one!r}, not {other!r}; resume with its settings or use another folder."
            )
