"""Whether a second speaker seems to begin in a recording."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

ONE_SPEAKER = 0.58
"""Cosine of the parts before and after a change of speaker: at most 0.56 for two speakers, 0.70 or more for one."""
_WINDOW, _STEP = 200, 100


def advise_on_speakers(fbank: torch.Tensor, encoder: nn.Module) -> list[str]:
    """A sentence where a second speaker seems to begin in a filter bank (F, 80) of 5 s or more."""
    cosine, frame = speaker_change(fbank, encoder)
    if cosine >= ONE_SPEAKER:
        return []
    return [f"From about {frame / 100:.0f} s another person seems to speak; keep one speaker alone."]


def speaker_change(fbank: torch.Tensor, encoder: nn.Module) -> tuple[float, int]:
    """Cosine of the mean embeddings before and after the frame where they differ most, and that frame; (1.0, 0) under 5 s.

    The embeddings are of windows of 2 s that begin each second.
    """
    starts = range(0, len(fbank) - _WINDOW + 1, _STEP)
    if len(starts) < 4:
        return 1.0, 0
    windows = torch.stack([fbank[start : start + _WINDOW] for start in starts])
    embeddings = normalize(encoder(windows - windows.mean(dim=1, keepdim=True)).float(), dim=-1)
    sides = [(embeddings[:k].mean(0), embeddings[k:].mean(0)) for k in range(2, len(starts) - 1)]
    cosines = [float(normalize(one, dim=0) @ normalize(other, dim=0)) for one, other in sides]
    at = int(np.argmin(cosines))
    return cosines[at], (at + 2) * _STEP + _STEP // 2
