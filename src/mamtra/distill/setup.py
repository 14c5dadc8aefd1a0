"""The models and the corpus of a training, and whether they fit one another."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mamtra.checkpoints.blank import load_strictly
from mamtra.checkpoints.cosyvoice.lm import VOICE_SPACE
from mamtra.checkpoints.native import CONFIG, find_beside, read_config
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.stored_lm import StoredLM
from mamtra.conversion.convert import Conversion
from mamtra.conversion.directory import write_directory
from mamtra.conversion.ranking_file import read_ranking
from mamtra.data.token_shards import Manifest, TokenShards
from mamtra.distill.config import DistillConfig
from mamtra.distill.losses import DistillLossConfig
from mamtra.distill.settings import DataSettings, StudentSettings
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.files import hash_files
from mamtra.text.frontend import TOKENIZER_FILE

INITIAL = "initial"
"""Folder of a training that holds the student before its first step."""


@dataclass(frozen=True)
class Corpus:
    """Utterances to learn from and utterances kept aside.

    Attributes:
        train: the shards.
        rows: of `train` that are learnt from.
        held_out: the shards that are measured on.
        held_rows: of `held_out`.
    """

    train: TokenShards
    rows: np.ndarray
    held_out: TokenShards
    held_rows: np.ndarray


def open_speech_lm(model: str | os.PathLike) -> StoredLM:
    """A stored language model that speaks.

    Raises:
        MamTraError: see `open_language_model`, or it does not know speech.
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
    """How the teacher becomes the student; nothing is written yet.

    Raises:
        MamTraError: plan or options do not fit the teacher.
    """
    plan = plan_student(settings, teacher.config)
    return Conversion(teacher, plan, settings.transfer, storage="float32", seed=settings.seed)


def make_student(config: DistillConfig, teacher: StoredLM) -> StoredLM:
    """The student before its first step, converted once into the folder of the training.

    Raises:
        MamTraError: see `write_directory` and `open_speech_lm`, or the student has the format of another package.
    """
    if config.student.model is not None:
        found = open_speech_lm(config.student.model)
        if found.kind != "native":
            raise MamTraError(f"{found.directory} is no directory of this package; make one with `mamtra convert`.")
        return found
    directory = Path(config.out) / INITIAL
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        write_directory(conversion_of(config.student, teacher), directory)
    return open_speech_lm(directory)


def open_corpus(settings: DataSettings) -> Corpus:
    """Open the shards and split them, by number and seed alone.

    Raises:
        MamTraError: shards are missing or damaged, a source is unknown, or nothing is left to learn from.
    """
    train = TokenShards(settings.train, verify=settings.verify)
    every = np.arange(len(train))
    allowed = np.ones(len(train), bool)
    if settings.sources is not None:
        unknown = set(settings.sources) - set(train.manifest.sources)
        if unknown:
            known = ", ".join(train.manifest.sources)
            raise MamTraError(f"The corpus {settings.train} has no source {min(unknown)!r}; it has {known}.")
        allowed = np.isin(train.source, [train.manifest.sources.index(name) for name in settings.sources])
    draw = np.random.default_rng([settings.seed, 7]).random(len(train))
    if isinstance(settings.held_out, str):
        held_out = TokenShards(settings.held_out, verify=settings.verify)
        same_tokenizers(train.manifest, held_out.manifest, settings.held_out)
        aside, held_rows = np.zeros(len(train), bool), np.arange(len(held_out))
    else:
        if not 0 <= settings.held_out < 1:
            raise MamTraError(f"data.held_out is a share from 0 up to 1, or a directory, not {settings.held_out}.")
        held_out, aside = train, draw < settings.held_out
        held_rows = every[aside & allowed]
    chosen = np.random.default_rng([settings.seed, 8]).random(len(train)) < settings.share
    rows = every[allowed & ~aside & chosen]
    if not len(rows):
        raise MamTraError(
            f"Nothing of the corpus {settings.train} is left to learn from; check data.share and sources."
        )
    return Corpus(train, rows, held_out, held_rows)


def tokenizer_hashes(directory: Path) -> tuple[str, str]:
    """Hashes of the speech tokenizer and of the text units of a model; empty where it has none of its own form."""
    if not (directory / CONFIG).is_file():
        return VOICE_SPACE, ""  # CosyVoice 2 as published: its text units are not a single file
    text = find_beside(directory, TOKENIZER_FILE)
    return str(read_config(directory).get("voice_space", "")), hash_files(text) if text.is_file() else ""


def check_corpus(manifest: Manifest, directory: Path | str, teacher: StoredLM) -> None:
    """Compare a corpus with the model that is to read it.

    Raises:
        MamTraError: other tokenizers made it, or ids do not fit the tables.
    """
    speech, text = tokenizer_hashes(teacher.directory)
    for what, mine, theirs in (("speech", speech, manifest.speech_tokenizer), ("text", text, manifest.text_tokenizer)):
        if mine and theirs and mine != theirs:
            raise MamTraError(
                f"The corpus {directory} was made with another {what} tokenizer ({theirs[:16]}) than the model "
                f"{teacher.name} has ({mine[:16]}); prepare it again with this model."
            )
    config = teacher.config
    if manifest.num_speech_tokens > config.num_speech_tokens or manifest.text_vocab_size > config.text_vocab_size:
        raise MamTraError(
            f"The corpus {directory} has {manifest.num_speech_tokens} speech codes and {manifest.text_vocab_size} text ids, the "
            f"model {teacher.name} {config.num_speech_tokens} and {config.text_vocab_size}; prepare it again with this model."
        )


def same_tokenizers(one: Manifest, other: Manifest, directory: str) -> None:
    """Refuse shards that another tokenizer made.

    Raises:
        MamTraError: it did.
    """
    if (one.speech_tokenizer, one.text_tokenizer) != (other.speech_tokenizer, other.text_tokenizer):
        raise MamTraError(f"The corpus {directory} was made with other tokenizers than data.train; prepare it again.")


def check_pair(teacher: SpeechLMConfig, student: SpeechLMConfig, losses: DistillLossConfig) -> None:
    """Whether the losses can compare these two.

    Raises:
        MamTraError: they have other ids, or another width or depth where hidden states are compared.
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
