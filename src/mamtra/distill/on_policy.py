"""On-policy distillation (after Agarwal et al. 2024, arXiv 2306.13649): speech tokens are sampled
from the student, and the teacher gives its distribution over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mamtra.engine.batch import generate_batch
from mamtra.models.layout import PAD, unistream
from mamtra.models.speech_lm import SpeechLM


def sample_speech(
    lm: SpeechLM,
    texts: Sequence[np.ndarray],
    longest: Sequence[int],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[np.ndarray]:
    """Sample speech tokens for several texts in one batch.

    Args:
        lm: the model, float32.
        texts: text ids (T,) of each.
        longest: largest number of speech tokens of each; fewer if the end of speech is sampled before, and at least one.
        temperature: of the draws.
        generator: on the device of the model.

    Returns:
        Speech tokens (M,) int64 of each, without the end of speech.
    """
    stop = lm.config.eos_id

    def draw(logits: Tensor, sampled: Tensor) -> Tensor:
        chances = (logits.float() / temperature).softmax(-1)
        if sampled.shape[1] == 0:
            chances[:, stop:] = 0
        return torch.multinomial(chances, 1, generator=generator)[:, 0]

    rows = generate_batch(
        lm, list(map(torch.from_numpy, texts)), shortest=[0] * len(texts), longest=longest, sampler=draw
    )
    return [np.array(row.tokens, np.int64) for row in rows]


def collate_samples(
    texts: Sequence[np.ndarray], speeches: Sequence[np.ndarray], eos_id: int, shape: tuple[int, int] | None
) -> dict[str, Tensor]:
    """A micro-batch of sampled speech; the targets mark the positions of the divergence and are not ground truth.

    Args:
        texts: text ids of each.
        speeches: speech tokens of each.
        eos_id: of the model.
        shape: (B, L) to pad to, or None.
    """
    batch = unistream(list(texts), list(speeches), eos_id=eos_id)
    found = {"kind": batch.kind, "ids": batch.ids, "targets": batch.targets}
    if shape is None:
        return found
    padded = {name: torch.full(shape, PAD) for name in found}
    for name, value in found.items():
        padded[name][: value.shape[0], : value.shape[1]] = value
    return padded
