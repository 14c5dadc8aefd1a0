"""The teacher and the student of a training run, and whether they match."""

from __future__ import annotations

import os
from pathlib import Path

from mamtra.checkpoints.cosyvoice.files import THIRD
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.stored_lm import StoredLM
from mamtra.checkpoints.strict_loading import load_strictly
from mamtra.conversion.directory import write_directory
from mamtra.conversion.job import Conversion
from mamtra.conversion.ranking_file import read_ranking
from mamtra.distill.config import DistillConfig
from mamtra.distill.losses import DistillLossConfig
from mamtra.distill.settings import StudentSettings
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.synthesis.open_model import open_model
from mamtra.synthesis.sentence import opening_of

INITIAL = "initial"
"""Folder of a training run that holds the student before the first step."""


def open_speech_lm(model: str | os.PathLike) -> StoredLM:
    """A stored speech language model.

    Raises:
        MamTraError: see `open_language_model`, or it is a language model of text.
    """
    stored = open_language_model(model)
    if stored.section != "lm":
        raise MamTraError(f"{stored.directory} is a model of text alone; distillation needs a speech language model.")
    return stored


def read_weights(stored: StoredLM) -> SpeechLM:
    """The model in memory, float32, on the CPU.

    Raises:
        MamTraError: files are damaged.
    """
    weights = {name: stored.read(name).float() for name in stored.names}
    return load_strictly(PARTS["lm"].build(stored.config), weights, str(stored.source.path))


def read_opening(stored: StoredLM) -> list[int]:
    """Text ids that the model has before every text, in training as in speech; none but for CosyVoice 3.

    Raises:
        MamTraError: its text front end is missing or damaged.
    """
    if stored.settings.get("voice_space") != THIRD.voice_space:
        return []
    return opening_of(open_model(stored.directory))


def plan_student(settings: StudentSettings, teacher: SpeechLMConfig) -> LayerPlan:
    """The plan that a configuration names.

    Raises:
        MamTraError: it does not fit the teacher, or a ranking is missing or damaged.
    """
    layers = teacher.num_hidden_layers
    if settings.attention is not None:
        return LayerPlan.explicit(layers, settings.attention)
    ranking = read_ranking(settings.ranking) if settings.ranking else None
    return LayerPlan.from_ratio(layers, settings.ratio or "1:0", settings.strategy, ranking)


def conversion_of(settings: StudentSettings, teacher: StoredLM) -> Conversion:
    """The conversion of the teacher into the student; nothing is written yet.

    Raises:
        MamTraError: plan or options do not fit the teacher.
    """
    plan = plan_student(settings, teacher.config)
    return Conversion(teacher, plan, settings.transfer, storage="float32", seed=settings.seed)


def make_student(config: DistillConfig, teacher: StoredLM) -> StoredLM:
    """The student before the first step, converted into the folder of the training run unless it is there already.

    Raises:
        MamTraError: see `write_directory` and `open_speech_lm`, or the student is not a model directory of this package.
    """
    if config.student.model is not None:
        found = open_speech_lm(config.student.model)
        if found.kind != "native":
            raise MamTraError(
                f"{found.directory} is not a model directory of this package; make one with `mamtra convert`."
            )
        return found
    directory = Path(config.out) / INITIAL
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        write_directory(conversion_of(config.student, teacher), directory)
    return open_speech_lm(directory)


def check_pair(teacher: SpeechLMConfig, student: SpeechLMConfig, losses: DistillLossConfig) -> None:
    """Check that the losses can compare teacher and student.

    Raises:
        MamTraError: their vocabularies differ, or their width or depth where hidden states are compared.
    """
    same = ["num_speech_tokens", "speech_vocab_size", "eos_id", "fill_id", "text_vocab_size"]
    if losses.emb_weight:
        same.append("hidden_size")
        if losses.emb_target == "all_hidden":
            same.append("num_hidden_layers")
    for name in same:
        mine, theirs = getattr(student, name), getattr(teacher, name)
        if mine != theirs:
            raise MamTraError(
                f"Teacher and student do not match: {name} is {theirs} in the teacher and {mine} in the student."
            )
