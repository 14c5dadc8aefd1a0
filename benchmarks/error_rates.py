"""Word and character errors of a whole list, and how sure they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 2000


def words(text: str, normalise: Callable[[str], str]) -> str:
    """The form in which references and hypotheses are compared.

    After `normalise` (Whisper's English normaliser: digits, contractions, American spelling), letters spelt one by one and
    groups of digits are joined, so that "f b i" is "fbi" and "5 30" is "530"; all else but letters, digits and apostrophes goes.
    """
    text = normalise(text.replace("’", "'"))
    text = re.sub(r"\b[a-z](?: [a-z])+\b", lambda found: found[0].replace(" ", ""), text)
    text = re.sub(r"(?<=\d) (?=\d)", "", text)
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text).split())


def edit_distance(one: Sequence, two: Sequence) -> int:
    """Least number of insertions, deletions and substitutions between two sequences."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            diagonal, row[j] = row[j], min(diagonal + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def count(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, np.ndarray]:
    """Errors and lengths of each utterance: word_errors, words, char_errors, chars, each int64 (n,)."""
    pairs = list(zip(references, hypotheses, strict=True))
    return {
        "word_errors": np.array([edit_distance(r.split(), h.split()) for r, h in pairs], np.int64),
        "words": np.array([len(r.split()) for r, _ in pairs], np.int64),
        "char_errors": np.array([edit_distance(r, h) for r, h in pairs], np.int64),
        "chars": np.array([len(r) for r, _ in pairs], np.int64),
    }


def draws(utterances: int) -> np.ndarray:
    """Utterance numbers of each resample, (RESAMPLES, n). The same for every system, so that differences are paired."""
    return np.random.default_rng(0).integers(0, utterances, (RESAMPLES, utterances))


def rate(errors: np.ndarray, lengths: np.ndarray) -> tuple[float, list[float]]:
    """Corpus-level error rate in percent (counts are summed before they are divided) and its 95% bootstrap interval."""
    picked = draws(len(errors))
    spread = 100 * errors[picked].sum(1) / np.maximum(1, lengths[picked].sum(1))
    return 100 * float(errors.sum()) / max(1, int(lengths.sum())), interval(spread)


def mean(values: np.ndarray) -> tuple[float, list[float]]:
    """Mean and its 95% bootstrap interval."""
    return float(values.mean()), interval(values[draws(len(values))].mean(1))


def difference(errors: np.ndarray, other: np.ndarray, lengths: np.ndarray) -> tuple[float, list[float]]:
    """Error rate minus that of another system on the same utterances, in points, with a paired 95% bootstrap interval."""
    picked = draws(len(errors))
    spread = 100 * (errors - other)[picked].sum(1) / np.maximum(1, lengths[picked].sum(1))
    return 100 * float((errors - other).sum()) / max(1, int(lengths.sum())), interval(spread)


def interval(spread: np.ndarray) -> list[float]:
    return [float(edge) for edge in np.percentile(spread, [2.5, 97.5])]
