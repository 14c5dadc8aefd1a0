"""Repetition-aware sampling without torch: the ids that `mamtra.engine.sampling.ras_sample` draws from the same logits and seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.light.random import Generator
from mamtra.models.sampling_config import RASConfig

_UNLIKELY = np.float32(1e-3)
"""Ids that are less probable than the most probable one by this factor are looked at where the others do not fill the nucleus."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (V,) float32."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def nucleus(logits: np.ndarray, top_p: float, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The candidates as `mamtra.engine.sampling.nucleus` gives them: probabilities and ids, the most probable first."""
    probabilities = softmax(logits)
    count = min(top_k, len(probabilities))
    candidates = np.flatnonzero(probabilities >= probabilities.max() * _UNLIKELY)
    if len(candidates) < count and probabilities[candidates].sum() < top_p + _UNLIKELY:  # others may be in the nucleus
        candidates = np.flatnonzero(probabilities >= np.partition(probabilities, -count)[-count])
    ids = candidates[np.argsort(-probabilities[candidates], kind="stable")[:count]]
    kept = probabilities[ids]
    before = np.cumsum(kept, dtype=np.float64) - kept
    size = max(1, int((before < top_p).sum()))
    return kept[:size], ids[:size]


def draw(weights: np.ndarray, generator: Generator) -> int:
    """``torch.multinomial(weights, 1)``: place of one of (n,) weights, by a race of exponential waiting times."""
    return int(np.argmax(weights / generator.exponential(len(weights))))


def bar(logits: np.ndarray, history: Sequence[int], settings: GenerationConfig) -> bool:
    """Exclude what the guards keep from coming next, in place; returns whether there was any."""
    barred = [token for token in settings.barred(history, settings.silent_tokens) if token < len(logits)]
    logits[barred] = -np.inf
    return bool(barred)


def ras_sample(logits: np.ndarray, history: Sequence[int], generator: Generator, config: RASConfig) -> int:
    """Draw from the nucleus; where the result is among the latest ids, draw again from all other ids.

    Args:
        logits: (V,) float32; -inf excludes an id.
        history: ids so far, the latest last.
        generator: of the draws.
        config: settings.
    """
    probabilities, ids = nucleus(logits, config.top_p, config.top_k)
    token = int(ids[draw(probabilities, generator)])
    window = history[-config.win_size :] if config.win_size else ()
    if sum(each == token for each in window) >= max(1, config.win_size * config.tau_r):
        rest = logits.copy()
        rest[token] = -np.inf
        token = draw(softmax(rest), generator)
    return token
