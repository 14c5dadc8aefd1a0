"""The trained student as a model directory: a copy of the initial one with the trained weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from mamtra.checkpoints.model_files import CONFIG, GENERATION, base_of, name_base, read_generation
from mamtra.checkpoints.native import PROVENANCE, hash_model, save_model
from mamtra.checkpoints.open_lm import REPORT
from mamtra.checkpoints.stored_lm import StoredLM
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.files import atomic_directory
from mamtra.runtime.json_files import read_json, write_json
from mamtra.version import VERSION

STUDENT = "student"
"""Folder of a training that holds the trained student."""


def write_student(out: Path, began: StoredLM, student: SpeechLM, about: dict[str, Any], *, bistream: bool) -> Path:
    """Write the model directory, whole or not at all; one that is there is replaced.

    Args:
        out: folder of the training.
        began: directory of this package that the student began as.
        student: with the weights to keep.
        about: goes into provenance.json, section "distillation".
        bistream: whether it was trained to speak while text is arriving; what it began as may have been able to.
    """
    place = out / STUDENT
    with atomic_directory(place, replace=True) as partial:
        left = shutil.ignore_patterns(REPORT, "model*.safetensors*")
        shutil.copytree(began.directory, partial, ignore=left, dirs_exist_ok=True)
        config = read_json(partial / CONFIG)
        base = base_of(began.directory)
        if base is not None:
            config["base"] = name_base(base, place)
            write_json(partial / CONFIG, config)
        save_model(partial, {"lm": student}, storage="float32", sample_rate=config.get("sample_rate", 24000))
        written = read_json(partial / CONFIG)
        # what belongs to the other parts stays as it was; saving the language model knows nothing of them
        write_json(partial / CONFIG, {**written, **{k: v for k, v in config.items() if k != "lm"}})
        generation = read_generation(partial).model_copy(update={"bistream": bistream})
        write_json(partial / GENERATION, generation.model_dump(mode="json"))
        before = read_json(partial / PROVENANCE) if (partial / PROVENANCE).is_file() else {}
        versions = {"mamtra": VERSION, "torch": torch.__version__}
        provenance = {**before, "distillation": {"versions": versions, **about}}
        provenance["sha256"] = {**before.get("sha256", {}), **hash_model(partial)}
        write_json(partial / PROVENANCE, provenance)
    return place
