"""Kinds of failure of an utterance, which an error rate does not tell apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mamtra.audio.trim import frame_power, is_loud
from mamtra.evaluate.alignment import align

FAILURES = ("missing", "silent", "early_stop", "no_stop", "skipped", "repeated", "inserted", "wrong_voice")
"""missing: no sound. silent: the hypothesis is empty. early_stop: a fifth of the words or more are missing at the end. no_stop:
a fifth of the words or more are added after the last one. skipped: three words in a row are missing elsewhere. repeated: three
words in a row come twice. inserted: three words in a row that are not in the text. wrong_voice: the speaker similarity to the
prompt, or to the ground truth, is far lower than in the other utterances (see `similarity_floor`)."""

RUN = 3
FRACTION = 0.2
FEWEST = 10
"""Similarities needed before one can be an outlier."""
OUTLIER = 3.5
"""Robust deviations below the median, after Iglewicz and Hoaglin (1993)."""
BUCKETS = ((1, 5), (6, 10), (11, 20), (21, 30), (31, 45), (46, 10**6))
"""Words of a text, from and to."""


def bucket(words: int) -> str:
    """The length bucket of a text of so many words."""
    low, high = next(pair for pair in BUCKETS if words <= pair[1])
    return f"{low}-{high}" if high < 10**6 else f"{low}+"


def failures(reference: list[str], hypothesis: list[str]) -> list[str]:
    """Failures of an utterance, both sides as normalised words."""
    if not hypothesis:
        return ["silent"]
    steps = align(reference, hypothesis)
    runs: list[tuple[str, int, int, bool]] = []  # kind, where in the hypothesis, length, at the end
    for number, step in enumerate(steps):
        if runs and runs[-1][0] == step.kind:
            kind, at, length, _ = runs[-1]
            runs[-1] = (kind, at, length + 1, number == len(steps) - 1)
        else:
            runs.append((step.kind, step.hypothesis, 1, number == len(steps) - 1))
    found = []
    many = max(RUN, round(FRACTION * len(reference)))
    for kind, at, length, last in runs:
        if kind == "delete" and length >= RUN:
            found.append("early_stop" if last and length >= many else "skipped")
        elif kind == "insert" and length >= RUN:
            words = hypothesis[at : at + length]
            if last and length >= many:
                found.append("no_stop")
            found.append("repeated" if _comes_twice(words, hypothesis) else "inserted")
    return [name for name in FAILURES if name in found]


def similarity_floor(similarities: Sequence[float]) -> float:
    """Similarity below which an utterance counts as another voice: 3.5 robust deviations below the median.

    A system that never has the right voice shows in its mean similarity instead. With fewer than ten there is no floor.
    """
    if len(similarities) < FEWEST:
        return float("-inf")
    middle = float(np.median(similarities))
    deviation = 1.4826 * float(np.median(np.abs(np.asarray(similarities) - middle)))
    return middle - OUTLIER * max(deviation, 0.01)


def _comes_twice(words: list[str], hypothesis: list[str]) -> bool:
    grams = Counter(tuple(hypothesis[i : i + RUN]) for i in range(len(hypothesis) - RUN + 1))
    return any(grams[tuple(words[i : i + RUN])] > 1 for i in range(len(words) - RUN + 1))


def silence_share(samples: np.ndarray, rate: int) -> float:
    """Fraction of 10 ms frames of samples (T,) that are 45 dB below the loudest one; 1 where all are silent."""
    power = frame_power(samples, rate)
    return float(np.mean(~is_loud(power))) if len(power) else 1.0
