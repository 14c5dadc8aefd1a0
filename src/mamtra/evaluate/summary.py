"""The figures of a score file with their intervals, and two files against each other on the same utterances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mamtra.errors import MamTraError
from mamtra.evaluate.alignment import Counts, count
from mamtra.evaluate.failure_types import bucket, failures, similarity_floor
from mamtra.evaluate.score_file import ScoreFile
from mamtra.evaluate.statistics import Rows, grouped_difference, interval, ratio, resampled_rows, sign_test, within
from mamtra.evaluate.text_normalizers import RULES, normaliser

MEANS = (
    "mos", "similarity_to_prompt", "similarity_to_ground_truth", "duration_ratio", "silence_share", "words_per_second", "rtf",
    "ttfa_ms",
)  # fmt: skip
SPEED = ("rtf", "ttfa_ms")
"""Figures of the machine and of its load, of which no sign test is made."""


def word_counts(rows: Iterable[dict[str, Any]], rule: str) -> list[Counts]:
    """Steps of the word alignment of each row; a row without sound has an empty hypothesis."""
    normalise, _ = normaliser(rule)
    return [count(normalise(row["reference"]).split(), normalise(row.get("hypothesis", "")).split()) for row in rows]


def char_counts(rows: Iterable[dict[str, Any]], rule: str) -> list[Counts]:
    """The same for characters, blanks left out."""
    normalise, _ = normaliser(rule)

    def letters(text: str) -> str:
        return normalise(text).replace(" ", "")

    return [count(letters(row["reference"]), letters(row.get("hypothesis", ""))) for row in rows]


def arrays(counts: Sequence[Counts]) -> tuple[np.ndarray, np.ndarray]:
    """Errors and lengths, each float64 (n,)."""
    return np.array([c.errors for c in counts], float), np.array([c.length for c in counts], float)


def numbered(rows: Sequence[dict[str, Any]], ids: Sequence[str]) -> np.ndarray:
    """Place in ids of each row's utterance, (m,) int64."""
    places = {key: place for place, key in enumerate(ids)}
    return np.array([places[row["id"]] for row in rows], np.int64)


def figure(parts: np.ndarray, wholes: np.ndarray, groups: np.ndarray, scale: float = 100.0) -> dict[str, Any]:
    """A ratio of sums with its 95% bootstrap interval; rows of one utterance (its seeds) are averaged first."""
    spread = interval(scale * ratio(parts, wholes, resampled_rows(groups)))
    value = ratio(within(parts, groups), within(wholes, groups))
    return {"value": float(scale * value), "ci95": spread, "utterances": int(groups.max()) + 1}


def summarise(scores: ScoreFile) -> dict[str, Any]:
    """All figures of a score file.

    `wer_RULE` sums errors and words over the set before it divides (like VERSA), `wer_RULE_macro` is the mean over utterances
    (like Seed-TTS-eval); both in percent. `cer_english` is of characters without blanks. Where utterances were spoken with
    several seeds, each counts once, with the mean over its seeds; intervals are by bootstrap over utterances and seeds.

    Raises:
        MamTraError: the file has no rows.
    """
    rows = list(scores.rows.values())
    if not rows:
        raise MamTraError(f"{scores.path} holds no utterance yet; run `mamtra evaluate` again to continue.")
    ids = list(dict.fromkeys(row["id"] for row in rows))
    ones, groups = np.ones(len(rows)), numbered(rows, ids)
    found: dict[str, Any] = {}
    for rule in RULES:
        errors, words = arrays(word_counts(rows, rule))
        found[f"wer_{rule}"] = figure(errors, words, groups)
        found[f"wer_{rule}_macro"] = figure(errors / np.maximum(words, 1), ones, groups)
    found["cer_english"] = figure(*arrays(char_counts(rows, "english")), groups)
    for name in MEANS:
        known = [row for row in rows if name in row]
        if known:
            values = np.array([row[name] for row in known], float)
            own = list(dict.fromkeys(row["id"] for row in known))
            found[name] = figure(values, np.ones(len(values)), numbered(known, own), 1.0)
    return {
        "system": scores.fingerprint.get("system"),
        "utterances": len(ids),
        "seeds": max(int(n) for n in np.bincount(groups)),
        "without_sound": sum("error" in row for row in rows),
        "figures": found,
        "steps": sum(word_counts(rows, "english"), Counts())._asdict(),
        "failures": by_length(rows),
        "spent": dict(sum((Counter(row.get("spent", {})) for row in rows), Counter())),
    }


def classes(row: dict[str, Any], floor: float = float("-inf")) -> list[str]:
    """Failure classes of a row; `floor` is the `floor_of` its file."""
    if "error" in row:
        return ["missing"]
    normalise, _ = normaliser("english")
    found = failures(normalise(row["reference"]).split(), normalise(row.get("hypothesis", "")).split())
    return [*found, "wrong_voice"] if _similarity(row) < floor else found


def floor_of(rows: Iterable[dict[str, Any]]) -> float:
    """`similarity_floor` of a file's rows."""
    return similarity_floor([s for s in map(_similarity, rows) if np.isfinite(s)])


def _similarity(row: dict[str, Any]) -> float:
    return row.get("similarity_to_prompt", row.get("similarity_to_ground_truth", float("inf")))


def by_length(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Utterances, word error rate and failures by number of words."""
    rows = list(rows)
    floor = floor_of(rows)
    normalise, _ = normaliser("english")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: len(normalise(row["reference"]).split())):
        groups.setdefault(bucket(len(normalise(row["reference"]).split())), []).append(row)
    return {
        name: {
            "utterances": len({row["id"] for row in members}),
            "wer_english": sum(word_counts(members, "english"), Counts()).rate,
            **Counter(kind for row in members for kind in classes(row, floor)),
        }
        for name, members in groups.items()
    }


def compare_scores(first: ScoreFile, other: ScoreFile) -> dict[str, Any]:
    """Other minus first for every figure that both have, paired by utterance.

    Returns:
        "utterances", their number, and "figures": by name "difference", "ci95" (its 95% interval) and, but for speed, "lower" and
        "higher" (the utterances where the other is so) and "p_sign" (of the sign test).

    Raises:
        MamTraError: they have no utterance in common.
    """
    sides = [list(scores.rows.values()) for scores in (first, other)]
    theirs = {row["id"] for row in sides[1]}
    shared = list(dict.fromkeys(row["id"] for row in sides[0] if row["id"] in theirs))
    if not shared:
        raise MamTraError(f"{first.path} and {other.path} have no utterance in common.")
    sides = [[row for row in rows if row["id"] in {*shared}] for rows in sides]
    pairs: dict[str, list[Rows]] = {}
    for rule in RULES:
        pairs[f"wer_{rule}"] = [(*arrays(word_counts(rows, rule)), numbered(rows, shared)) for rows in sides]
    for name in MEANS:
        known = [{row["id"] for row in rows if name in row} for rows in sides]
        both = [key for key in shared if key in known[0] & known[1]]
        if both:
            having = [[row for row in rows if name in row and row["id"] in {*both}] for rows in sides]
            pairs[name] = [
                (np.array([row[name] for row in rows], float), np.ones(len(rows)), numbered(rows, both))
                for rows in having
            ]
    found = {}
    for name, ((a, of_a, at_a), (b, of_b, at_b)) in pairs.items():
        scale = 100.0 if name.startswith("wer") else 1.0
        value, spread = grouped_difference((scale * a, of_a, at_a), (scale * b, of_b, at_b))
        found[name] = {"difference": value, "ci95": spread}
        if name not in SPEED:
            lower, higher, p = sign_test(within(a / np.maximum(of_a, 1), at_a), within(b / np.maximum(of_b, 1), at_b))
            found[name] |= {"lower": lower, "higher": higher, "p_sign": p}
    return {"utterances": len(shared), "figures": found}
