"""Which utterances make up which batch: a token budget, few lengths, and an order that seed and number alone decide.

Every epoch is a function of (seed, epoch), so where a training stands is two numbers, and any process can work out what all
of them do. A micro-batch has the shape of its bucket, (budget // length, length).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mamtra.errors import MamTraError

MULTIPLE = 32
MARKS = 2
"""Positions of a sequence beside its text and speech: sos and task."""


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass is made of.

    Attributes:
        epoch: it belongs to.
        number: in the epoch.
        length: positions L of each sequence.
        rows: sequences B, as many as the budget holds.
        members: utterances of each sequence that is not empty, by row of the corpus.
        targets: speech codes and ends of speech to be predicted.
    """

    epoch: int
    number: int
    length: int
    rows: int
    members: tuple[tuple[int, ...], ...]
    targets: int


def bucket_lengths(sizes: np.ndarray, count: int = 12) -> tuple[int, ...]:
    """The lengths that leave the least padding.

    Args:
        sizes: (N,) positions of each sequence.
        count: at most so many lengths.

    Returns:
        Multiples of `MULTIPLE`, ascending; the last one holds the longest sequence.
    """
    ends, counts = np.unique(-(-sizes // MULTIPLE) * MULTIPLE, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    # A bucket from end i up to end j costs ends[j - 1] positions for each of its sequences; impossible ones cost infinity.
    first, behind = np.arange(len(ends) + 1)[:, None], np.arange(1, len(ends) + 1)
    bucket = np.where(first < behind, (below[behind] - below[first]) * ends.astype(float), np.inf)
    cost = np.where(first[:, 0] == 0, 0.0, np.inf)  # of the sequences up to each end, with the buckets so far
    choices = []
    for _ in range(min(count, len(ends))):
        ways = cost[:, None] + bucket
        choices.append(ways.argmin(0))
        cost = np.concatenate([[np.inf], ways.min(0)])
    found, at = [], len(ends)
    for choice in reversed(choices):
        found.append(int(ends[at - 1]))
        at = int(choice[at - 1])
    return tuple(sorted(found))


class Sampler:
    """Endless micro-batches in a fixed order.

    Args:
        text_len: (N,) of the corpus.
        speech_len: (N,).
        speaker: (N,) numbers.
        rows: utterances to use.
        budget: positions of a micro-batch, padding included.
        lengths: of the buckets, ascending; `bucket_lengths` by default. Longer sequences are left out.
        join: share of the utterances that are put behind another one of the same speaker, as a prompt lies before its text.
        seed: of the order.

    Attributes:
        left_out: utterances that are longer than the longest bucket or the budget.

    Raises:
        MamTraError: nothing is left to train on.
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
        join: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._size, self._targets = text_len + speech_len, speech_len
        self._speaker, self._budget, self._join, self._seed = speaker, budget, join, seed
        limit = budget if lengths is None else max((n for n in lengths if n <= budget), default=0)
        fitting = (self._size[rows] + MARKS <= limit) & (speech_len[rows] > 0) & (text_len[rows] > 0)
        self._rows = rows[fitting]
        self.left_out = len(rows) - len(self._rows)
        if not len(self._rows):
            raise MamTraError(
                "No utterance fits: all are empty or longer than the token budget; raise batch.tokens or check the corpus."
            )
        self.lengths = (budget,) if lengths is None else tuple(sorted(n for n in lengths if n <= budget))
        if lengths is None:
            found = [int(self._size[list(members)].sum()) + MARKS for members in self._sequences(self._random(0))]
            self.lengths = tuple(sorted({min(n, budget) for n in bucket_lengths(np.array(found))}))
        self._plan: tuple[int, list[MicroBatch]] | None = None

    def epoch(self, number: int) -> list[MicroBatch]:
        """All micro-batches of an epoch in their order."""
        if self._plan is None or self._plan[0] != number:
            self._plan = (number, self._make(number))
        return self._plan[1]

    def after(self, epoch: int, number: int) -> tuple[int, int]:
        """Where the micro-batch behind this one is."""
        return (epoch, number + 1) if number + 1 < len(self.epoch(epoch)) else (epoch + 1, 0)

    def _make(self, epoch: int) -> list[MicroBatch]:
        rng = self._random(epoch)
        buckets: dict[int, list[tuple[int, ...]]] = {length: [] for length in self.lengths}
        ends = np.array(list(buckets))
        for members in self._sequences(rng):
            size = int(self._size[list(members)].sum()) + MARKS
            buckets[int(ends[np.searchsorted(ends, size)])].append(members)
        made: list[tuple[int, list[tuple[int, ...]]]] = []
        waiting: list[tuple[int, ...]] = []
        for length, members in buckets.items():
            members = waiting + members  # what does not fill a batch goes with the next longer ones
            rows = self._budget // length
            full = len(members) // rows * rows
            made += [(length, members[i : i + rows]) for i in range(0, full, rows)]
            waiting = members[full:]
        if waiting:
            longest = max(int(self._size[list(m)].sum()) + MARKS for m in waiting)
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
        if self._join <= 0:
            return [(row,) for row in order]
        longest = self.lengths[-1]
        out: list[tuple[int, ...]] = []
        waiting: dict[int, int] = {}
        for row, joined in zip(order, rng.random(len(order)) < self._join, strict=True):
            speaker = int(self._speaker[row])
            if not joined:
                out.append((row,))
            elif speaker not in waiting:
                waiting[speaker] = row
            elif int(self._size[row] + self._size[waiting[speaker]]) + MARKS <= longest:
                out.append((waiting.pop(speaker), row))
            else:
                out.append((row,))
        return out + [(row,) for row in waiting.values()]


class Position:
    """Where a training stands in the order of a sampler; moves on step by step.

    A step is `accumulation` micro-batches in a row, dealt out to the processes in turn. The step is the same whatever the
    number of processes.

    Args:
        sampler: the order.
        accumulation: micro-batches of a step.
        rank: of this process.
        world: processes; `accumulation` is a multiple of it.

    Raises:
        MamTraError: the micro-batches of a step cannot be dealt out evenly.
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
        """Go on where `state` was taken."""
        self.epoch, self.number = state["epoch"], state["number"]

    def step(self) -> tuple[list[MicroBatch], int]:
        """This process's share of the next step, and the targets of the whole step over all processes."""
        mine, total = [], 0
        for i in range(self._accumulation):
            batch = self._sampler.epoch(self.epoch)[self.number]
            total += batch.targets
            if i % self._world == self._rank:
                mine.append(batch)
            self.epoch, self.number = self._sampler.after(self.epoch, self.number)
        return mine, total
