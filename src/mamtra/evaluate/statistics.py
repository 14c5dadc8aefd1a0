"""How sure a figure is: bootstrap intervals over utterances, paired differences, sign test."""

from __future__ import annotations

from math import comb

import numpy as np

RESAMPLES = 2000


def draws(utterances: int, seed: int = 0) -> np.ndarray:
    """Utterance numbers of every resample, (RESAMPLES, n) int64. The same for every system, which pairs their differences."""
    return np.random.default_rng(seed).integers(0, utterances, (RESAMPLES, utterances))


def picks(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Row numbers of every resample where an utterance has several rows, one a seed: utterances are drawn, then their seeds.

    Args:
        groups: number of the utterance of each row, 0 to n - 1, (m,) integers.
        seed: of the draws.

    Returns:
        (RESAMPLES, n * s) int64, s rows for every utterance drawn, where s is the largest number of seeds. With one row each
        it is `draws`, whatever the order of the rows.
    """
    order = np.argsort(groups, kind="stable")
    times = np.bincount(groups)
    begin = np.cumsum(times) - times
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(times), (RESAMPLES, len(times)))[:, :, None]
    which = (rng.random((*drawn.shape[:2], times.max())) * times[drawn]).astype(np.int64)
    return order[begin[drawn] + which].reshape(RESAMPLES, -1)


def within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean of each utterance's rows: values (m,) to (n,)."""
    return np.bincount(groups, values) / np.bincount(groups)


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
    """Other minus first of two ratios over the same utterances, all (n,), and its paired 95% interval."""
    one = np.arange(len(parts))
    return grouped_difference((parts, wholes, one), (other_parts, other_wholes, one))


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Parts, wholes and numbers of utterances, each (m,)."""


def grouped_difference(first: Rows, other: Rows) -> tuple[float, tuple[float, float]]:
    """The same where utterances have several rows, perhaps not as many in both; utterances are drawn alike, then seeds of each."""
    values, spreads = [], []
    for parts, wholes, groups in (first, other):
        values.append(float(ratio(within(parts, groups), within(wholes, groups))))
        spreads.append(ratio(parts, wholes, picks(groups)))
    return values[1] - values[0], interval(spreads[1] - spreads[0])


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
