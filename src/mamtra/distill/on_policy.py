"""On-policy distillation (after Agarwal et al. 2024, arXiv 2306.13649): speech tokens are sampled
from the student, and the teacher gives its distribution over them.

The draws are from all ids at a temperature, by a model whose weights change between calls: not what the engine is made for, so
the rows have a loop of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mamtra.engine.graph_step import GraphedSteps
from mamtra.models.layout import PAD, prompt, unistream
from mamtra.models.speech_lm import SpeechLM

_SYNC_INTERVAL = 16
"""Steps between two checks of whether all rows have ended: a check waits for the device."""


@torch.no_grad()
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
    device, stop, most = lm.head_weight.device, lm.config.eos_id, max(longest)
    starts = [prompt(torch.from_numpy(text), ()) for text in texts]
    kind, ids = (
        pad_sequence([s[i][0] for s in starts], batch_first=True, padding_value=PAD).to(device) for i in (0, 1)
    )
    lengths, limits = (torch.tensor(n, device=device) for n in ([s[0].shape[1] for s in starts], list(longest)))
    state = lm.init_state(len(starts), kind.shape[1] + most, device)
    hidden = lm(lm.embed(kind, ids), state, lengths)
    logits = lm.logits(hidden[torch.arange(len(starts), device=device), lengths - 1])
    step = GraphedSteps(lm, state) if lm.head_weight.is_cuda else partial(lm.next_logits, state=state)
    tokens = torch.full((len(starts), most), stop, device=device)
    ended = torch.zeros(len(starts), dtype=torch.bool, device=device)
    for position in range(most):
        chances = (logits.float() / temperature).softmax(-1)
        if position == 0:
            chances[:, stop:] = 0
        drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]
        ended = ended | (drawn >= stop) | (position >= limits)
        drawn = torch.where(ended, stop, drawn)
        tokens[:, position] = drawn
        if position % _SYNC_INTERVAL == _SYNC_INTERVAL - 1 and bool(ended.all()):
            break
        if position + 1 < most:
            logits = step(lm.speech_embedding(drawn))
    rows = tokens.cpu().numpy()
    return [row[: int((row < stop).cumprod().sum())].astype(np.int64) for row in rows]


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
