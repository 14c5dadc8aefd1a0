"""Which words were deleted, inserted or substituted: the cheapest alignment of two sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from mamtra.runtime.optional import need

Kind = Literal["equal", "replace", "delete", "insert"]


class Step(NamedTuple):
    """One step of an alignment.

    Attributes:
        kind: of the step.
        reference: position in the reference before the step.
        hypothesis: position in the hypothesis before the step.
    """

    kind: Kind
    reference: int
    hypothesis: int


class Counts(NamedTuple):
    """Steps of an alignment by kind; `+` adds up counts of several utterances."""

    equal: int = 0
    replace: int = 0
    delete: int = 0
    insert: int = 0

    def __add__(self, other: Counts) -> Counts:  # type: ignore[override]
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def errors(self) -> int:
        """Deletions, insertions and substitutions."""
        return self.replace + self.delete + self.insert

    @property
    def length(self) -> int:
        """Of the reference."""
        return self.equal + self.replace + self.delete

    @property
    def rate(self) -> float:
        """Errors in percent of the reference; more than 100 where much was inserted."""
        return 100 * self.errors / max(1, self.length)


def edit_distance(reference: Sequence, hypothesis: Sequence) -> int:
    """Least number of insertions, deletions and substitutions between two sequences."""
    return _levenshtein().distance(reference, hypothesis)


def align(reference: Sequence, hypothesis: Sequence) -> list[Step]:
    """The cheapest alignment; every substitution, deletion and insertion costs one."""
    return list(_steps(reference, hypothesis))


def count(reference: Sequence, hypothesis: Sequence) -> Counts:
    """Steps of the alignment by kind."""
    kinds = [step.kind for step in _steps(reference, hypothesis)]
    return Counts(*(kinds.count(kind) for kind in Counts._fields))


def _steps(reference: Sequence, hypothesis: Sequence) -> Iterator[Step]:
    for block in _levenshtein().opcodes(reference, hypothesis):
        for number in range(max(block.src_end - block.src_start, block.dest_end - block.dest_start)):
            # a deletion stays where it is in the hypothesis, an insertion in the reference
            forward, across = number * (block.tag != "insert"), number * (block.tag != "delete")
            yield Step(block.tag, block.src_start + forward, block.dest_start + across)


def _levenshtein():
    return need("rapidfuzz.distance.Levenshtein", "Counting word errors")
