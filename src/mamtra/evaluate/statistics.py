"""How sure a figure is: bootstrap intervals over utterances, paired differences, sign test."""

from __future__ import annotations

from math import comb

import numpy as np

RESAMPLES = 2000


def draws(utterances: int, seed: int = 0) -> np.ndarray:
    """Utterance numbers of every resample, (RESAMPLES, n) int64. The same for every system, which pairs their differences."""
    return np.random.default_rng(seed).integers(0, utterances, (RESAMPLES, utterances))


def interval(spread: np.ndarray) -> tuple[float, float]:
    """The middle 95% of resampled figures (RESAMPLES,)."""
    low, high = np.percentile(spread, [2.5, 97.5])
    return float(low), float(high)


def ratio(parts: np.ndarray, wholes: np.ndarray, picked: np.ndarray | None = None) -> np.ndarray:
    """Sum of parts over sum of wholes, both (n,): once, (), or of every resample, (RESAMPLES,)."""
    if picked is None:
        return parts.sum() / max(wholes.sum(), 1e-12)
    return parts[picked].sum(1) / np.maximum(wholes[picked].sum(1), 1e-12)


def difference(
    parts: np.ndarray, wholes: np.ndarray, other_parts: np.ndarray, other_wholes: np.ndarray
) -> tuple[float, tuple[float, float]]:
    """Other minus first of two ratios over the same utterances, and its paired 95% interval."""
    picked = draws(len(parts))
    spread = ratio(other_parts, other_wholes, picked) - ratio(parts, wholes, picked)
    return float(ratio(other_parts, other_wholes) - ratio(parts, wholes)), interval(spread)


def sign_test(first: np.ndarray, other: np.ndarray) -> tuple[int, int, float]:
    """Utterances where the other is lower, where it is higher, and how likely so lopsided a split is by chance (two-sided).

    Args:
        first: figure of each utterance (n,).
        other: the same utterances by another system.
    """
    lower, higher = int((other < first).sum()), int((other > first).sum())
    n, least = lower + higher, min(lower, higher)
    chance = sum(comb(n, k) for k in range(least + 1)) / 2**n * 2 if n else 1.0
    return lower, higher, min(1.0, chance)
