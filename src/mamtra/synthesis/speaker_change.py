"""Whether a second speaker seems to begin in a recording."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ONE_SPEAKER = 0.62
"""Cosine of the parts before and after a change of speaker: below it for 45 of 48 recordings of two people, who were heard in
training, and for 1 of 48 of one (docs/results/cloning.md)."""
_WINDOW, _STEP = 200, 100
Embed = Callable[[np.ndarray], np.ndarray]
"""Filter banks (B, F, 80) minus their means over frames to speaker embeddings (B, E)."""


def advise_on_speakers(fbank: np.ndarray, embed: Embed) -> list[str]:
    """A sentence where a second speaker seems to begin in a filter bank (F, 80) of 5 s or more."""
    cosine, frame = speaker_change(fbank, embed)
    if cosine >= ONE_SPEAKER:
        return []
    return [f"From about {frame / 100:.0f} s another person seems to speak; keep one speaker alone."]


def speaker_change(fbank: np.ndarray, embed: Embed) -> tuple[float, int]:
    """Cosine of the mean embeddings before and after the frame where they differ most, and that frame; (1.0, 0) under 5 s.

    The embeddings are of windows of 2 s that begin each second.
    """
    starts = range(0, len(fbank) - _WINDOW + 1, _STEP)
    if len(starts) < 4:
        return 1.0, 0
    windows = np.stack([fbank[start : start + _WINDOW] for start in starts])
    embeddings = _normalised(embed(windows - windows.mean(axis=1, keepdims=True)))
    sides = [(embeddings[:k].mean(axis=0), embeddings[k:].mean(axis=0)) for k in range(2, len(starts) - 1)]
    cosines = [float(_normalised(one) @ _normalised(other)) for one, other in sides]
    at = int(np.argmin(cosines))
    return cosines[at], (at + 2) * _STEP + _STEP // 2


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(min=1e-12)
