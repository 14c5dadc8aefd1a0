"""On-policy distillation (after Agarwal et al. 2024, arXiv 2306.13649): the student speaks, the teacher says what it would have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mamtra.models.layout import PAD, unistream
from mamtra.models.speech_lm import SpeechLM


@torch.no_grad()
def sample_speech(
    lm: SpeechLM,
    texts: Sequence[np.ndarray],
    longest: Sequence[int],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[np.ndarray]:
    """What the model says to some texts, all of them side by side.

    Args:
        lm: the model, float32.
        texts: text ids (T,) of each.
        longest: codes that each may have; fewer where an end of speech is drawn before, and at least one.
        temperature: of the draws.
        generator: on the device of the model.

    Returns:
        Codes (M,) int64 of each, without the end.
    """
    device, stop = lm.head_weight.device, lm.config.eos_id
    start = unistream(list(texts), [[] for _ in texts], eos_id=stop)  # [sos] text [task]
    lengths = start.lengths.to(device)
    state = lm.init_state(len(texts), start.kind.shape[1] + max(longest), device)
    hidden = lm(lm.embed(start.kind.to(device), start.ids.to(device)), state, lengths)
    logits = lm.logits(hidden[torch.arange(len(texts), device=device), lengths - 1])
    ended = torch.zeros(len(texts), dtype=torch.bool, device=device)
    said: list[Tensor] = []
    for step in range(max(longest)):
        chances = (logits.float() / temperature).softmax(-1)
        if step == 0:
            chances[:, stop:] = 0
        drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]
        ended = ended | (drawn >= stop)
        drawn = torch.where(ended, stop, drawn)
        said.append(drawn)
        if step % 16 == 15 and bool(ended.all()):
            break
        if step + 1 < max(longest):
            logits = lm.next_logits(lm.speech_embedding(drawn), state)
    codes = torch.stack(said, 1).cpu().numpy()
    found = []
    for row, most in zip(codes, longest, strict=True):
        ends = np.flatnonzero(row == stop)
        found.append(row[: min(most, int(ends[0]) if len(ends) else len(row))])
    return found


def lay_out(
    texts: Sequence[np.ndarray], speeches: Sequence[np.ndarray], eos_id: int, shape: tuple[int, int] | None
) -> dict[str, Tensor]:
    """A micro-batch of what was said; the targets say where the teacher is asked, and are no truth.

    Args:
        texts: text ids of each.
        speeches: codes of each.
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
