"""On-policy distillation (after Agarwal et al. 2024, arXiv 2306.13649): speech tokens are sampled
from the student, and the teacher gives its distribution over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mamtra.engine.engine import Engine
from mamtra.engine.request import Request, Sampling, Unistream
from mamtra.models.layout import PAD, unistream
from mamtra.models.speech_lm import SpeechLM

_MARKS = 2
"""Inputs of a sequence besides text and speech."""


def sample_speech(
    lm: SpeechLM, texts: Sequence[np.ndarray], longest: Sequence[int], seeds: Sequence[int], *, temperature: float = 1.0
) -> list[np.ndarray]:
    """Sample speech tokens for several texts, side by side.

    The engine lives as long as the call: the weights change between calls, and the memory is needed for training. Equal arguments
    give equal tokens, on a GPU too, where the draws are those of a copy in bfloat16.

    Args:
        lm: the model, in evaluation mode.
        texts: text ids (T,) of each.
        longest: largest number of speech tokens of each; fewer if the end of speech is sampled before, and at least one.
        seeds: of the draws of each.
        temperature: of the draws, which are from all ids.

    Returns:
        Speech tokens (M,) int64 of each, without the end of speech.

    Raises:
        MamTraError: logits are not finite, or the memory does not suffice.
    """
    capacity = max(len(text) + most for text, most in zip(texts, longest, strict=True)) + _MARKS
    sampling = Sampling(temperature=temperature)
    # a CPU decodes rows side by side too, turn by turn of this thread; on a GPU the order of arrival must not matter
    deterministic = lm.head_weight.is_cuda
    drawn_from = _half(lm) if deterministic else lm
    with Engine(drawn_from, slots=len(texts), capacity=capacity, deterministic=deterministic) as engine:
        runs = [
            engine.submit(Request(Unistream(text.tolist(), bounds=(1, most)), seed, sampling))
            for text, most, seed in zip(texts, longest, seeds, strict=True)
        ]
        return [np.asarray(run.result(), dtype=np.int64) for run in runs]


def _half(lm: SpeechLM) -> SpeechLM:
    """A copy in bfloat16, for which the kernels of a decode step are made, without what training has put around its layers."""
    with torch.device("meta"):
        copy = SpeechLM(lm.config)
    copy.load_state_dict({name: t.to(torch.bfloat16) for name, t in lm.state_dict().items()}, assign=True)
    return copy.requires_grad_(False).eval()


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
