"""Speech with its phonemes for the training of the tokenizer: batches, the encoder's input, CTC."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from change_voices import families
from corpus import TOKEN_16, Corpus, Row, crop, drawing_weights
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from mamtra.encoders.speech_tokenizer import MARGIN

BULK = "hibari"
"""The speaker of the bulk speech, whose tokens the language models know."""
BUCKETS = (50, 75, 100, 130, 170, 220, 300, 370, 450)
"""Tokens, up to 18 s: two thirds of the recordings of real speakers are longer than 12 s."""
NOT_SPOKEN = frozenset(' ˈˌː;:,.!?—…"()“”')


def phones(phonemes: str) -> str:
    """The CTC target: phonemes without stress marks, spaces and punctuation."""
    return "".join(c for c in phonemes if c not in NOT_SPOKEN)


def cut(flat: Tensor, starts: Tensor, lengths: Tensor, tokens: int, size: int) -> Tensor:
    """Utterances padded with MARGIN tokens of silence in front and silence behind: (B, (tokens + 2 MARGIN) * size) float."""
    wave = crop(flat, (starts - MARGIN) * size, (tokens + 2 * MARGIN) * size)
    place = torch.arange(wave.shape[1], device=wave.device) - MARGIN * size
    return wave.float() / 32768 * ((place >= 0) & (place < lengths[:, None] * size))


def batches(rows: list[Row], weights: np.ndarray, per_batch: int, rng: np.random.Generator):
    """Endless (bucket, row numbers): utterances of similar length, drawn by weight."""
    pools = {}
    edges = (0, *BUCKETS)
    for low, high in zip(edges, BUCKETS, strict=False):
        members = np.array([i for i, r in enumerate(rows) if low < r.tokens <= high], int)
        if weights[members].sum() > 0:
            pools[high] = (members, weights[members] / weights[members].sum())
    mass = np.array(
        [weights[m].sum() * high for high, (m, _) in pools.items()]
    )  # batches of longer utterances hold fewer rows
    highs = list(pools)
    while True:
        high = highs[rng.choice(len(highs), p=mass / mass.sum())]
        members, p = pools[high]
        yield high, rng.choice(members, size=max(1, per_batch // high), p=p)


def error_rate(log_probs: Tensor, lengths: Tensor, targets: list[list[int]], margin: int = 0) -> tuple[int, int]:
    """Greedy CTC: (edit errors, phones). `margin` tokens stand in front of each row."""
    errors = total = 0
    for row, length, target in zip(log_probs.argmax(-1).tolist(), lengths.tolist(), targets, strict=True):
        best = row[2 * margin : 2 * (margin + length)]
        phones_read = [p for i, p in enumerate(best) if p and (i == 0 or p != best[i - 1])]
        errors, total = errors + Levenshtein.distance(phones_read, target), total + len(target)
    return errors, total


def by_length(rows: Sequence[Row], tokens: int) -> Iterator[list[int]]:
    """Numbers of all rows in groups of similar length, which padded to the longest have at most `tokens` or are one row."""
    order = sorted(range(len(rows)), key=lambda i: rows[i].tokens)
    at = 0
    while at < len(order):
        count = 1
        while at + count < len(order) and (count + 1) * rows[order[at + count]].tokens <= tokens:
            count += 1
        yield order[at : at + count]
        at += count


def kept_apart(rows: Sequence[Row]) -> np.ndarray:
    """Which rows are for validation (rows,): every fiftieth, and what is the same speech in another voice."""
    first = np.array([family[0] for family in families(rows)])
    return (np.arange(len(rows)) % 50 == 0)[first]


class Batch(NamedTuple):
    """Rows of a corpus: numbers, first token (B,), tokens (B,), whether a place is one of theirs (B, N)."""

    rows: list[int]
    starts: Tensor
    lengths: Tensor
    inside: Tensor


class Speech:
    """A corpus with what is wanted of it.

    Args:
        folders: of the corpus.
        device: of torch.
        parts: of the corpus, see `Corpus`; "audio16" among them.
        sources: that are groups of their own; all others are the group "bulk".
    """

    def __init__(self, folders: list[Path], device: str, parts: Sequence[str], sources: Container[str]) -> None:
        self.corpus, self.device = Corpus(folders, device, parts), device
        self.rows = self.corpus.rows
        self.alphabet = sorted({c for row in self.rows for c in phones(row.phonemes)})
        number = {c: n + 1 for n, c in enumerate(self.alphabet)}
        self.phones = [[number[c] for c in phones(row.phonemes)] for row in self.rows]
        self.starts = torch.tensor([row.start for row in self.rows], device=device)
        self.lengths = torch.tensor([row.tokens for row in self.rows], device=device)
        self.group = np.array([row.source if row.source in sources else "bulk" for row in self.rows])
        self.validation = kept_apart(self.rows)
        self.fits = np.array([
            row.tokens <= BUCKETS[-1] and 0 < len(target) <= 2 * row.tokens - 4
            for row, target in zip(self.rows, self.phones, strict=True)
        ])  # fmt: skip

    def draw(self, fractions: Mapping[str, float], tokens_per_batch: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Endless batches for training."""
        sizes = np.array([row.tokens for row in self.rows])
        weights = drawing_weights(self.rows, sizes, fractions) / sizes * self.fits * ~self.validation
        for high, picked in batches(self.rows, weights, tokens_per_batch, rng):
            yield self.batch(picked.tolist(), high)

    def batch(self, rows: list[int], high: int) -> Batch:
        """These rows, padded to `high` tokens."""
        index = torch.tensor(rows, device=self.device)
        lengths = self.lengths[index]
        return Batch(rows, self.starts[index], lengths, torch.arange(high, device=self.device) < lengths[:, None])

    def waves(self, batch: Batch) -> Tensor:
        """(B, TOKEN_16 * (N + 2 MARGIN)) of the batch, as `SpeechTokenizer.tokenize` hears it."""
        return cut(self.corpus.audio16, batch.starts, batch.lengths, batch.inside.shape[1], TOKEN_16)

    def ctc(self, log_probs: Tensor, batch: Batch, margin: int = 0) -> tuple[Tensor, Tensor]:
        """CTC of log-probabilities (B, 2N, V), with `margin` tokens on both sides of each row: nats of each row (B,), and nats per
        phone of all."""
        targets = [self.phones[i] for i in batch.rows]
        flat = torch.tensor([p for target in targets for p in target], device=self.device)
        counts = torch.tensor([len(target) for target in targets], device=self.device)
        scores, frames = log_probs.transpose(0, 1), 2 * (batch.lengths + 2 * margin)
        each = F.ctc_loss(scores, flat, frames, counts, reduction="none", zero_infinity=True)
        return each, each.sum() / counts.sum()
