"""What the answers of a listening test say: means with intervals, preferences with sign tests."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from mamtra.errors import MamTraError
from mamtra.evaluate.listening.answers import Answer, screen
from mamtra.evaluate.listening.trials import ANCHOR, REFERENCE
from mamtra.evaluate.statistics import RESAMPLES, interval, sign_test


def analyse(answers: Sequence[Answer], key: dict[str, Any], allowed: int = 0) -> dict[str, Any]:
    """All figures of a test.

    Args:
        answers: of all listeners.
        key: of the test.
        allowed: catch trials that a listener may fail without being left out.

    Returns:
        "listeners" that count, "left_out" with reasons, and "systems" (mos, mushra) or "pairs" (ab).

    Raises:
        MamTraError: nobody's answers count.
    """
    kind = key["listening_test"]
    kept, left_out = screen(answers, kind, allowed)
    if not kept:
        reasons = "; ".join(f"{name} {why}" for name, why in left_out.items())
        raise MamTraError(f"No answers are left to count{f' ({reasons})' if reasons else ''}.")
    found: dict[str, Any] = {
        "kind": kind,
        "listeners": len({answer.listener for answer in kept}),
        "answers": len(kept),
        "left_out": left_out,
    }
    if kind == "ab":
        first, *others = key["systems"]
        return found | {"pairs": [_preference(kept, first, other) for other in others]}
    names = [*([REFERENCE] if kind == "mushra" else []), *key["systems"], *([ANCHOR] if kind == "mushra" else [])]
    return found | {"systems": {name: _rating(kept, name) for name in names}}


def t_quantile(freedom: int) -> float:
    """97.5% point of Student's t (Cornish-Fisher expansion; Abramowitz and Stegun 26.7.5), exact to 1% from four degrees on."""
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom ** (i + 1) for i, term in enumerate(terms))


def crossed(values: np.ndarray, listeners: Sequence[str], utterances: Sequence[str]) -> tuple[float, float]:
    """95% interval of the mean of values (n,), with listeners and utterances both drawn anew.

    Ratings of one listener, and of one utterance, are alike; an interval that takes them for independent is too narrow.
    """
    rng = np.random.default_rng(0)
    (_, who), (_, what) = (np.unique(list(names), return_inverse=True) for names in (listeners, utterances))
    people, texts = who.max() + 1, what.max() + 1
    means = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, people, people), minlength=people)[who]
        times = times * np.bincount(rng.integers(0, texts, texts), minlength=texts)[what]
        if times.sum():
            means.append(float((values * times).sum() / times.sum()))
    return interval(np.array(means))


def _rating(answers: Sequence[Answer], name: str) -> dict[str, Any]:
    rated = [answer for answer in answers if name in answer.scores]
    values = np.array([answer.scores[name] for answer in rated])
    n = len(values)
    if not n:
        return {"ratings": 0}
    half = t_quantile(n - 1) * float(values.std(ddof=1)) / sqrt(n) if n > 1 else float("nan")
    return {
        "ratings": n,
        "mean": float(values.mean()),
        "half_width": half,
        "ci95": crossed(values, [answer.listener for answer in rated], [answer.utterance for answer in rated]),
        "quartiles": [float(q) for q in np.percentile(values, [25, 50, 75])],
    }


def _preference(answers: Sequence[Answer], first: str, other: str) -> dict[str, Any]:
    votes = [answer for answer in answers if {*answer.pair} == {first, other}]
    # 1 for the other, -1 for the first
    values = np.array([0.0 if v.choice is None else 1.0 if v.choice == other else -1.0 for v in votes])
    for_first, for_other, chance = sign_test(np.zeros(len(values)), values)
    names = [v.listener for v in votes]
    ci = crossed(values, names, [v.utterance for v in votes]) if votes else (float("nan"),) * 2
    per_listener = np.array([values[[n == name for n in names]].mean() for name in dict.fromkeys(names)])
    _, _, among_listeners = sign_test(np.zeros(len(per_listener)), per_listener)
    return {
        "first": first,
        "other": other,
        "votes": len(votes),
        "first_better": for_first,
        "no_difference": len(votes) - for_first - for_other,
        "other_better": for_other,
        "p_sign": chance,
        "p_sign_listeners": among_listeners,
        "net_preference": float(values.mean()) if votes else float("nan"),
        "ci95": ci,
    }
