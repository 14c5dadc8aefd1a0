"""Batches for the language models: CosyVoice 2's layout [sos][text][task][speech], fixed shapes, rows of similar length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch.nn.functional as F
from tokens import TokenSet
from torch import Tensor

from mamtra.models.layout import unistream

NOTHING = np.zeros(0, np.int64)
SHAPES = (64, 96, 128, 160, 200, 250, 310, 390, 500, 640, 800, 960, 1120, 1280)  # positions


def held_out(data: TokenSet, every: int = 100) -> np.ndarray:
    """The rows of the validation set: every hundredth."""
    return np.arange(len(data)) % every == 0


def sequences(data: TokenSet, rows: np.ndarray, join: float, rng: np.random.Generator) -> list[list[int]]:
    """One epoch: single utterances, and for a fraction `join`, two of one speaker concatenated, as with a voice prompt."""
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
    """Shuffled batches of kind, ids, targets (B, L) int64 with B * L about `per_batch`; overlong sequences are left out."""
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
        members = members + [members[0][:0]] * (per_batch // shape - len(members))  # empty rows keep the shape fixed
        texts = [np.concatenate([NOTHING, *(data.ids(r) for r in picked)]) for picked in members]
        speeches = [np.concatenate([NOTHING, *(data.codes(r) for r in picked)]) for picked in members]
        batch = unistream(texts, speeches, eos_id=eos)
        extra = (0, shape - batch.kind.shape[1])
        kind, ids, target = (F.pad(t, extra, value=-1) for t in (batch.kind, batch.ids, batch.targets))
        target[[not picked for picked in members]] = -1
        yield {"kind": kind, "ids": ids, "target": target}


def endless(
    data: TokenSet, rows: np.ndarray, join: float, per_batch: int, eos: int, rng: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    while True:
        yield from epoch(data, rows, join, per_batch, eos, rng)
