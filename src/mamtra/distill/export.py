"""The trained part of a model as a model directory: a copy of the one that it began as, with the trained weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mamtra.checkpoints.model_files import CONFIG, GENERATION, base_of, name_base, read_generation
from mamtra.checkpoints.native import PROVENANCE, hash_model, save_model
from mamtra.checkpoints.open_lm import REPORT
from mamtra.checkpoints.parts import PARTS
from mamtra.runtime.files import atomic_directory
from mamtra.runtime.json_files import read_json, write_json
from mamtra.version import VERSION

STUDENT = "student"
"""Folder of a training that holds the trained student."""


def write_student(
    out: Path,
    began: Path,
    section: str,
    student: nn.Module,
    about: dict[str, Any],
    *,
    generation: dict[str, Any],
    storage: str = "float32",
) -> Path:
    """Write the model directory, whole or not at all; one that is there is replaced.

    Args:
        out: folder of the training.
        began: directory of this package that the student began as.
        section: of the part that was trained.
        student: with the weights to keep.
        about: goes into provenance.json, section "distillation", or "flow_distillation" for a flow.
        generation: what changes in generation_config.json.
        storage: type of the weights, see `save_model`.
    """
    place = out / STUDENT
    with atomic_directory(place, replace=True) as partial:
        weights = Path(PARTS[section].file)
        left = shutil.ignore_patterns(REPORT, f"{weights.stem}*{weights.suffix}*")
        shutil.copytree(began, partial, ignore=left, dirs_exist_ok=True)
        config = read_json(partial / CONFIG)
        base = base_of(began)
        if base is not None:
            config["base"] = name_base(base, place)
            write_json(partial / CONFIG, config)
        save_model(partial, {section: student}, storage=storage, sample_rate=config.get("sample_rate", 24000))
        written = read_json(partial / CONFIG)
        # what belongs to the other parts stays as it was; saving one part knows nothing of them
        write_json(partial / CONFIG, {**written, **{k: v for k, v in config.items() if k != section}})
        changed = read_generation(partial).model_copy(update=generation)
        write_json(partial / GENERATION, changed.model_dump(mode="json"))
        before = read_json(partial / PROVENANCE) if (partial / PROVENANCE).is_file() else {}
        versions = {"mamtra": VERSION, "torch": torch.__version__}
        title = "distillation" if section == "lm" else f"{section}_distillation"
        provenance = {**before, title: {"versions": versions, **about}}
        provenance["sha256"] = {**before.get("sha256", {}), **hash_model(partial)}
        write_json(partial / PROVENANCE, provenance)
    return place
