"""Settings of the data and of the batches, sections `data` and `batch` of a training configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamtra.runtime.strict_models import ClosedModel


class DataSettings(ClosedModel):
    """Which utterances are used for training and which for validation.

    Attributes:
        train: directory of token shards.
        validation: fraction of the utterances in the validation set, or another directory of token shards.
        fraction: fraction of the remaining utterances to train on, sampled with `seed`.
        sources: names of the sources to use; all by default.
        verify: compare shards with their hashes before training.
        seed: of the split and of the sampled fraction.
    """

    train: str
    validation: float | str = 0.01
    fraction: float = Field(1.0, gt=0, le=1)
    sources: tuple[str, ...] | None = None
    verify: bool = True
    seed: int = 0


class BatchSettings(ClosedModel):
    """The batches of one optimiser step.

    Attributes:
        tokens: positions of a micro-batch, padding included.
        accumulation: micro-batches of a step, divided among all processes.
        layout: order of text and speech in a sequence.
        concatenate_same_speaker: fraction of the utterances that are appended to another one of the same speaker.
        token_noise: fraction of the speech tokens in the input that are replaced by random ones.
        lengths: of the buckets; chosen from the data by default.
    """

    tokens: int = Field(40_000, ge=8)
    accumulation: int = Field(1, ge=1)
    layout: Literal["unistream", "bistream", "mixed"] = "unistream"
    concatenate_same_speaker: float = Field(0.0, ge=0, le=1)
    token_noise: float = Field(0.0, ge=0, le=1)
    lengths: tuple[int, ...] | None = None
