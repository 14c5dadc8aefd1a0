"""Micro-batches by token budget in a few bucket lengths, in an order that depends on seed and epoch alone.

Every epoch is a function of (seed, epoch), so the position in the data is two numbers, and every process can compute the
batches of all. A micro-batch has the shape of its bucket, (budget // length, length).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mamtra.errors import MamTraError

MULTIPLE = 32
SPECIAL_TOKENS = 2
"""Positions of a sequence besides text and speech: sos and task."""


@dataclass(frozen=True)
class MicroBatch:
    """The utterances of one forward pass.

    Attributes:
        epoch: number of the epoch.
        number: of the micro-batch in the epoch.
        length: positions L of each sequence.
        rows: sequences B that fit the budget.
        members: utterances of each sequence that is not empty, by row of the corpus.
        targets: speech tokens and ends of speech to predict.
    """

    epoch: int
    number: int
    length: int
    rows: int
    members: tuple[tuple[int, ...], ...]
    targets: int


def bucket_lengths(sizes: np.ndarray, count: int = 12) -> tuple[int, ...]:
    """The bucket lengths with the least padding.

    Args:
        sizes: (N,) positions of each sequence.
        count: largest number of lengths.

    Returns:
        Multiples of `MULTIPLE`, ascending; the last one holds the longest sequence.
    """
    ends, counts = np.unique(-(-sizes // MULTIPLE) * MULTIPLE, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    # A bucket from end i up to end j costs ends[j - 1] positions for each of its sequences; impossible ones cost infinity.
    first, end = np.arange(len(ends) + 1)[:, None], np.arange(1, len(ends) + 1)
    bucket = np.where(first < end, (below[end] - below[first]) * ends.astype(float), np.inf)
    cost = np.where(first[:, 0] == 0, 0.0, np.inf)  # of the sequences up to each end, with the buckets so far
    choices = []
    for _ in range(min(count, len(ends))):
        costs = cost[:, None] + bucket
        choices.append(costs.argmin(0))
        cost = np.concatenate([[np.inf], costs.min(0)])
    found, at = [], len(ends)
    for choice in reversed(choices):
        found.append(int(ends[at - 1]))
        at = int(choice[at - 1])
    return tuple(sorted(found))


class Sampler:
    """Micro-batches of every epoch in a reproducible order.

    Args:
        text_len: (N,) of the corpus.
        speech_len: (N,).
        speaker: (N,) numbers.
        rows: utterances to use.
        budget: positions of a micro-batch, padding included.
        lengths: of the buckets, ascending; `bucket_lengths` by default. Longer sequences are left out.
        concatenate_same_speaker: fraction of the utterances that are appended to another one of the same speaker, as text that
            follows a voice prompt.
        opening: text ids that come before every text.
        seed: of the order.

    Attributes:
        left_out: utterances that are longer than the longest bucket or the budget.

    Raises:
        MamTraError: nothing fits.
    """

    def __init__(
        self,
        text_len: np.ndarray,
        speech_len: np.ndarray,
        speaker: np.ndarray,
        rows: np.ndarray,
        *,
        budget: int = 40_000,
        lengths: Sequence[int] | None = None,
        concatenate_same_speaker: float = 0.0,
        opening: int = 0,
        seed: int = 0,
    ) -> None:
        self._special = SPECIAL_TOKENS + opening
        self._size, self._targets = text_len + speech_len, speech_len
        self._speaker, self._budget, self._concatenated, self._seed = speaker, budget, concatenate_same_speaker, seed
        limit = budget if lengths is None else max((n for n in lengths if n <= budget), default=0)
        fitting = (self._size[rows] + self._special <= limit) & (speech_len[rows] > 0) & (text_len[rows] > 0)
        self._rows = rows[fitting]
        self.left_out = len(rows) - len(self._rows)
        if not len(self._rows):
            raise MamTraError(
                "No utterance fits: all are empty or longer than the token budget; raise batch.tokens or check the corpus."
            )
        self.lengths = (budget,) if lengths is None else tuple(sorted(n for n in lengths if n <= budget))
        if lengths is None:
            found = [
                int(self._size[list(members)].sum()) + self._special for members in self._sequences(self._random(0))
            ]
            self.lengths = tuple(sorted({min(n, budget) for n in bucket_lengths(np.array(found))}))
        self._plan: tuple[int, list[MicroBatch]] | None = None

    def epoch(self, number: int) -> list[MicroBatch]:
        """All micro-batches of an epoch in their order."""
        if self._plan is None or self._plan[0] != number:
            self._plan = (number, self._make(number))
        return self._plan[1]

    def after(self, epoch: int, number: int) -> tuple[int, int]:
        """Position of the next micro-batch."""
        return (epoch, number + 1) if number + 1 < len(self.epoch(epoch)) else (epoch + 1, 0)

    def _make(self, epoch: int) -> list[MicroBatch]:
        rng = self._random(epoch)
        buckets: dict[int, list[tuple[int, ...]]] = {length: [] for length in self.lengths}
        ends = np.array(list(buckets))
        for members in self._sequences(rng):
            size = int(self._size[list(members)].sum()) + self._special
            buckets[int(ends[np.searchsorted(ends, size)])].append(members)
        made: list[tuple[int, list[tuple[int, ...]]]] = []
        waiting: list[tuple[int, ...]] = []
        for length, members in buckets.items():
            members = waiting + members  # the rest of a bucket is added to the next longer one
            rows = self._budget // length
            full = len(members) // rows * rows
            made += [(length, members[i : i + rows]) for i in range(0, full, rows)]
            waiting = members[full:]
        if waiting:
            longest = max(int(self._size[list(m)].sum()) + self._special for m in waiting)
            made.append((int(ends[np.searchsorted(ends, longest)]), waiting))
            length, members = made[-1]
            rows = self._budget // length
            made[-1:] = [(length, members[i : i + rows]) for i in range(0, len(members), rows)]
        order = rng.permutation(len(made)).tolist()
        return [self._batch(epoch, number, *made[at]) for number, at in enumerate(order)]

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, epoch])

    def _batch(self, epoch: int, number: int, length: int, members: list[tuple[int, ...]]) -> MicroBatch:
        targets = sum(int(self._targets[list(m)].sum()) + 1 for m in members)
        return MicroBatch(epoch, number, length, self._budget // length, tuple(members), targets)

    def _sequences(self, rng: np.random.Generator) -> list[tuple[int, ...]]:
        order = rng.permutation(self._rows).tolist()
        if self._concatenated <= 0:
            return [(row,) for row in order]
        longest = self.lengths[-1]
        out: list[tuple[int, ...]] = []
        waiting: dict[int, int] = {}
        for row, joined in zip(order, rng.random(len(order)) < self._concatenated, strict=True):
            speaker = int(self._speaker[row])
            if not joined:
                out.append((row,))
            elif speaker not in waiting:
                waiting[speaker] = row
            elif int(self._size[row] + self._size[waiting[speaker]]) + self._special <= longest:
                out.append((waiting.pop(speaker), row))
            else:
                out.append((row,))
        return out + [(row,) for row in waiting.values()]


class SamplerPosition:
    """The position of a training run in the order of a sampler; it advances step by step.

    A step is `accumulation` consecutive micro-batches, assigned to the processes in turn, so it is the same for any number of
    processes.

    Args:
        sampler: the order.
        accumulation: micro-batches of a step.
        rank: of this process.
        world: processes; `accumulation` is a multiple of it.

    Raises:
        MamTraError: the micro-batches of a step cannot be divided evenly.
    """

    def __init__(self, sampler: Sampler, accumulation: int, rank: int = 0, world: int = 1) -> None:
        if accumulation % world:
            raise MamTraError(
                f"batch.accumulation is {accumulation}, which {world} processes cannot share; make it a multiple of {world}."
            )
        self._sampler, self._accumulation, self._rank, self._world = sampler, accumulation, rank, world
        self.epoch = self.number = 0

    def state(self) -> dict[str, int]:
        """For `restore`."""
        return {"epoch": self.epoch, "number": self.number}

    def restore(self, state: dict[str, int]) -> None:
        """Set the position that `state` returned."""
        self.epoch, self.number = state["epoch"], state["number"]

    def step(self) -> tuple[list[MicroBatch], int]:
        """The micro-batches of this process in the next step, and the number of targets of the step over all processes."""
        mine, total = [], 0
        for i in range(self._accumulation):
            batch = self._sampler.epoch(self.epoch)[self.number]
            total += batch.targets
            if i % self._world == self._rank:
                mine.append(batch)
            self.epoch, self.number = self._sampler.after(self.epoch, self.number)
        return mine, total
