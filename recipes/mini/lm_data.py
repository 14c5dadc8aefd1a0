"""Batches for the language models: CosyVoice 2's layout [sos][text][task][speech], fixed shapes, rows of similar length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from tokens import TokenSet
from torch import Tensor

SHAPES = (64, 96, 128, 160, 200, 250, 310, 390, 500, 640)  # positions
SOS, TASK, TEXT, SPEECH = 0, 1, 2, 3


def lay_out(data: TokenSet, rows: list[int], length: int, eos: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One sequence of one or several utterances, texts first, then speech: kind, id, target (length,), -1 where padded."""
    text = np.concatenate([data.ids(r) for r in rows])
    speech = np.concatenate([data.codes(r) for r in rows])
    kind, ids, target = (np.full(length, -1, np.int64) for _ in range(3))
    t, m = len(text), len(speech)
    kind[: t + m + 2] = [SOS, *[TEXT] * t, TASK, *[SPEECH] * m]
    ids[: t + m + 2] = [0, *text, 1, *speech]
    target[t + 1 : t + m + 2] = [*speech, eos]
    return kind, ids, target


def held_out(data: TokenSet, every: int = 100) -> np.ndarray:
    """The rows kept aside for measuring: every hundredth."""
    return np.arange(len(data)) % every == 0


def sequences(data: TokenSet, rows: np.ndarray, join: float, rng: np.random.Generator) -> list[list[int]]:
    """One epoch: single utterances and, for a share `join` of the rows, two of one speaker in a row (what a prompt looks like)."""
    order, out, waiting = rng.permutation(rows), [], {}
    for row in order.tolist():
        speaker = int(data.speaker[row])
        if rng.random() >= join:
            out.append([row])
        elif speaker in waiting:
            out.append([waiting.pop(speaker), row])
        else:
            waiting[speaker] = row
    return out + [[row] for row in waiting.values()]


def epoch(
    data: TokenSet, rows: np.ndarray, join: float, per_batch: int, eos: int, rng: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    """Shuffled batches of kind, ids, targets (B, L) int64 with B * L about `per_batch`; too long sequences are left out."""
    groups: dict[int, list] = {}
    for picked in sequences(data, rows, join, rng):
        size = 2 + sum(
            int(data.speech_at[r + 1] - data.speech_at[r] + data.text_at[r + 1] - data.text_at[r]) for r in picked
        )
        shape = next((s for s in SHAPES if size <= s), None)
        if shape:
            groups.setdefault(shape, []).append(picked)
    plan = [
        (shape, members[i : i + per_batch // shape])
        for shape, members in groups.items()
        for i in range(0, len(members), per_batch // shape)
    ]
    for at in rng.permutation(len(plan)).tolist():
        shape, members = plan[at]
        count = per_batch // shape
        kind, ids, target = (np.full((count, shape), -1, np.int64) for _ in range(3))
        for i, picked in enumerate(members):
            kind[i], ids[i], target[i] = lay_out(data, picked, shape, eos)
        yield {name: torch.from_numpy(value) for name, value in (("kind", kind), ("ids", ids), ("target", target))}


def endless(
    data: TokenSet, rows: np.ndarray, join: float, per_batch: int, eos: int, rng: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    while True:
        yield from epoch(data, rows, join, per_batch, eos, rng)
