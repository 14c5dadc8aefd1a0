"""Failures that an error rate hides or blurs: nothing said, words going round in circles, speech cut off, holes, haste."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

GRAM = 4
ROUNDS = 3
FLOOR_DB = -45.0


def loops(hypothesis: str, reference: str) -> bool:
    """Whether four words in a row are heard three times or more, and more often than the text has them."""

    def grams(text: str) -> Counter:
        parts = text.split()
        return Counter(tuple(parts[i : i + GRAM]) for i in range(len(parts) - GRAM + 1))

    wanted = grams(reference)
    return any(times >= ROUNDS and times > wanted[gram] for gram, times in grams(hypothesis).items())


def is_truncated(hypothesis: str, reference: str, finish_reason: str | None) -> bool:
    """Whether the model ran into its length limit, or less than half of the words came out."""
    return finish_reason == "length" or 2 * len(hypothesis.split()) < len(reference.split())


def silence_share(samples: np.ndarray, rate: int) -> float:
    """Share of 10 ms frames that stay 45 dB under the loudest one; 1 where all is silent."""
    hop = rate // 100
    power = np.square(samples[: len(samples) // hop * hop].astype(np.float64).reshape(-1, hop)).mean(1)
    if len(power) == 0 or power.max() <= 1e-10:
        return 1.0
    return float(np.mean(power <= power.max() * 10 ** (FLOOR_DB / 10)))


def guard(
    item: dict[str, Any], spoken: str, samples: np.ndarray | None, rate: int, finish_reason: str | None
) -> dict[str, Any]:
    """Verdicts on one utterance.

    Args:
        item: its scores, with normalised `hypothesis` and `reference`.
        spoken: the reference spelt out in words, which the speaking rate counts.
        samples: (T,), or None where there is no sound.
        finish_reason: what the model gave, None where no model was run.
    """
    hypothesis, reference = item["hypothesis"], item["reference"]
    silent = 1.0 if samples is None else silence_share(samples, rate)
    seconds = 0.0 if samples is None else len(samples) / rate * (1 - silent)
    return {
        "empty": not hypothesis,
        "looping": loops(hypothesis, reference),
        "truncated": is_truncated(hypothesis or reference, reference, finish_reason),  # empty is a failure of its own
        "silence_share": silent,
        "words_per_second": len(spoken.split()) / seconds if seconds else 0.0,
    }
