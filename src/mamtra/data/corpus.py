"""The utterances of a training run: token shards, divided into a training and a validation set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mamtra.checkpoints.cosyvoice.files import family_of
from mamtra.checkpoints.model_files import CONFIG, find_beside, read_config
from mamtra.checkpoints.stored_lm import StoredLM
from mamtra.data.settings import DataSettings
from mamtra.data.token_shards import Manifest, TokenShards
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import hash_files
from mamtra.text.frontend import TOKENIZER_FILE


@dataclass(frozen=True)
class Corpus:
    """A training and a validation set.

    Attributes:
        train: shards with the training set.
        rows: utterances of `train` in the training set.
        validation: shards with the validation set; may be `train`.
        validation_rows: utterances of `validation` in the validation set.
    """

    train: TokenShards
    rows: np.ndarray
    validation: TokenShards
    validation_rows: np.ndarray


@checked
def open_corpus(settings: DataSettings) -> Corpus:
    """Open the shards and split them; the split depends on the settings alone.

    Raises:
        MamTraError: shards are missing or damaged, a source is unknown, or the training set is empty.
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
    if isinstance(settings.validation, str):
        validation = TokenShards(settings.validation, verify=settings.verify)
        _check_same_tokenizers(train.manifest, validation.manifest, settings.validation)
        held_out, validation_rows = np.zeros(len(train), bool), np.arange(len(validation))
    else:
        if not 0 <= settings.validation < 1:
            raise MamTraError(
                f"data.validation is a fraction from 0 up to 1, or a directory, not {settings.validation}."
            )
        held_out = np.random.default_rng([settings.seed, 7]).random(len(train)) < settings.validation
        validation, validation_rows = train, every[held_out & allowed]
    chosen = np.random.default_rng([settings.seed, 8]).random(len(train)) < settings.fraction
    rows = every[allowed & ~held_out & chosen]
    if not len(rows):
        raise MamTraError(
            f"No utterance of the corpus {settings.train} is left to train on; check data.fraction and data.sources."
        )
    return Corpus(train, rows, validation, validation_rows)


def tokenizer_hashes(directory: Path) -> tuple[str, str]:
    """Hashes of the speech tokenizer and of the text tokenizer of a model; "" for one that this package did not write."""
    if not (directory / CONFIG).is_file():
        # CosyVoice as published: its text units are not a single file
        return family_of(directory).voice_space, ""
    text = find_beside(directory, TOKENIZER_FILE)
    return str(read_config(directory).get("voice_space", "")), hash_files(text) if text.is_file() else ""


def check_corpus(manifest: Manifest, directory: Path | str, teacher: StoredLM) -> None:
    """Compare a corpus with the model to train.

    Raises:
        MamTraError: it was made with other tokenizers, or has ids beyond the vocabulary of the model.
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
            f"The corpus {directory} has {manifest.num_speech_tokens} speech tokens and {manifest.text_vocab_size} text ids, the "
            f"model {teacher.name} {config.num_speech_tokens} and {config.text_vocab_size}; prepare it again with this model."
        )


def _check_same_tokenizers(one: Manifest, other: Manifest, directory: str) -> None:
    """Raises: MamTraError: two sets of shards were made with different tokenizers."""
    if (one.speech_tokenizer, one.text_tokenizer) != (other.speech_tokenizer, other.text_tokenizer):
        raise MamTraError(f"The corpus {directory} was made with other tokenizers than data.train; prepare it again.")
