"""Uncertainty of figures: bootstrap intervals over utterances, paired differences, the sign test."""

from __future__ import annotations

import numpy as np

from mamtra.runtime.optional import need

RESAMPLES = 2000


def resamples(utterances: int, seed: int = 0) -> np.ndarray:
    """Utterances of every bootstrap resample, (RESAMPLES, n) int64; the same for every system, so that differences are paired."""
    return np.random.default_rng(seed).integers(0, utterances, (RESAMPLES, utterances))


def resampled_rows(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rows of every bootstrap resample where an utterance has one row a seed: utterances are resampled, then their seeds.

    Args:
        groups: number of the utterance of each row, 0 to n - 1, (m,) integers.
        seed: of the resampling.

    Returns:
        (RESAMPLES, n * s) int64, s rows for every sampled utterance, where s is the largest number of seeds. With one row each
        it is `resamples`, whatever the order of the rows.
    """
    order = np.argsort(groups, kind="stable")
    times = np.bincount(groups)
    begin = np.cumsum(times) - times
    rng = np.random.default_rng(seed)
    sampled = rng.integers(0, len(times), (RESAMPLES, len(times)))[:, :, None]
    which = (rng.random((*sampled.shape[:2], times.max())) * times[sampled]).astype(np.int64)
    return order[begin[sampled] + which].reshape(RESAMPLES, -1)


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
    """The same where utterances have several rows, perhaps not equally many in both: utterances are resampled alike, then seeds."""
    values, spreads = [], []
    for parts, wholes, groups in (first, other):
        values.append(float(ratio(within(parts, groups), within(wholes, groups))))
        spreads.append(ratio(parts, wholes, resampled_rows(groups)))
    return values[1] - values[0], interval(spreads[1] - spreads[0])


def sign_test(first: np.ndarray, other: np.ndarray) -> tuple[int, int, float]:
    """Two-sided sign test of paired figures.

    Args:
        first: figure of each utterance (n,).
        other: the same utterances by another system.

    Returns:
        utterances where the other is lower, where it is higher, and p; ties are left out.
    """
    lower, higher = int((other < first).sum()), int((other > first).sum())
    test = need("scipy.stats", "A sign test").binomtest
    return lower, higher, float(test(lower, lower + higher).pvalue) if lower + higher else 1.0
