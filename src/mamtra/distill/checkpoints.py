"""Checkpoints of a training: safetensors and JSON, whole or not there at all, and only as many as are wanted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.runtime.files import atomic_directory, disk_is_full
from mamtra.runtime.json_files import read_json

FOLDER = "checkpoints"
_STATE, _STUDENT, _OPTIMIZER = "state.json", "student.safetensors", "optimizer.safetensors"


class Checkpoint(NamedTuple):
    """All that a training needs to go on.

    Attributes:
        state: numbers and settings.
        student: weights.
        optimizer: moments, averages, random states.
    """

    state: dict[str, Any]
    student: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def checkpoints(out: Path) -> list[Path]:
    """Complete checkpoints of a training, the latest last."""
    return sorted(path for path in (out / FOLDER).glob("step-*") if (path / _STATE).is_file() and path.suffix == "")


def save_checkpoint(out: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint beside the others, then remove the oldest.

    Args:
        out: folder of the training.
        checkpoint: `state` has the number "step".
        keep: checkpoints that stay.

    Raises:
        MamTraError: the disk is full or cannot be written; checkpoints that were there stay.
    """
    place = out / FOLDER / f"step-{checkpoint.state['step']:08}"
    place.parent.mkdir(parents=True, exist_ok=True)
    size = sum(t.numel() * t.element_size() for part in checkpoint[1:] for t in part.values())
    try:
        with atomic_directory(place, replace=True) as partial:
            for name, tensors in ((_STUDENT, checkpoint.student), (_OPTIMIZER, checkpoint.optimizer)):
                save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial / name)
            (partial / _STATE).write_text(json.dumps(checkpoint.state, indent=1) + "\n", encoding="utf-8")
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
        return Checkpoint(read_json(path / _STATE), load_file(path / _STUDENT), load_file(path / _OPTIMIZER))
    except MamTraError:
        raise
    except Exception as error:  # the library raises a class of its own
        raise MamTraError(f"The checkpoint {path} is damaged; remove it to go on from the one before.") from error
