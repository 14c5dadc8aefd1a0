"""Figures of a listening test: means with intervals, preferences with sign tests."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from mamtra.errors import MamTraError
from mamtra.evaluate.listening.answers import Answer, screen
from mamtra.evaluate.listening.key import LOW_ANCHOR, REFERENCE, Key
from mamtra.evaluate.statistics import RESAMPLES, interval, sign_test
from mamtra.runtime.optional import need


def analyse(answers: Sequence[Answer], key: Key, allowed: int = 0) -> dict[str, Any]:
    """All figures of a test.

    Args:
        answers: of all listeners.
        key: of the test.
        allowed: catch trials that a listener may fail without being left out.

    Returns:
        "listeners" that count, "left_out" with reasons, "refused" ratings, and "systems" (mos, mushra) or "pairs" (ab).

    Raises:
        MamTraError: nobody's answers count.
    """
    kind = key.kind
    kept, left_out = screen(answers, kind, allowed)
    if not kept:
        reasons = "; ".join(f"{name} {why}" for name, why in left_out.items())
        raise MamTraError(f"No answers are left to count{f' ({reasons})' if reasons else ''}.")
    found: dict[str, Any] = {
        "kind": kind,
        "listeners": len({answer.listener for answer in kept}),
        "answers": len(kept),
        "left_out": left_out,
        "refused": sum(answer.refused for answer in answers),
    }
    if kind == "ab":
        first, *others = key.systems
        return found | {"pairs": [_preference(kept, first, other) for other in others]}
    names = [*([REFERENCE] if kind == "mushra" else []), *key.systems, *([LOW_ANCHOR] if kind == "mushra" else [])]
    return found | {"systems": {name: _rating(kept, name) for name in names}}


def crossed(values: np.ndarray, listeners: Sequence[str], utterances: Sequence[str]) -> tuple[float, float]:
    """95% interval of the mean of values (n,), with listeners and utterances both resampled.

    Ratings of one listener, and of one utterance, are alike; an interval that treats them as independent is too narrow.
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
    student = need("scipy.stats", "An interval of Student's t").t
    half = float(student.ppf(0.975, n - 1) * values.std(ddof=1)) / sqrt(n) if n > 1 else None  # one has no spread
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
    for_first, for_other, p = sign_test(np.zeros(len(values)), values)
    names = [v.listener for v in votes]
    ci = crossed(values, names, [v.utterance for v in votes]) if votes else (float("nan"),) * 2
    per_listener = np.array([values[[n == name for n in names]].mean() for name in dict.fromkeys(names)])
    _, _, p_listeners = sign_test(np.zeros(len(per_listener)), per_listener)
    return {
        "first": first,
        "other": other,
        "votes": len(votes),
        "first_better": for_first,
        "no_difference": len(votes) - for_first - for_other,
        "other_better": for_other,
        "p_sign": p,
        "p_sign_listeners": p_listeners,
        "net_preference": float(values.mean()) if votes else float("nan"),
        "ci95": ci,
    }
