"""Which words were left out, put in or exchanged: the cheapest alignment of two sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["equal", "replace", "delete", "insert"]


class Step(NamedTuple):
    """One step of an alignment.

    Attributes:
        kind: of the step.
        reference: place in the reference, where it stands before the step.
        hypothesis: place in the hypothesis.
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
        """Steps that are not equal."""
        return self.replace + self.delete + self.insert

    @property
    def length(self) -> int:
        """Of the reference."""
        return self.equal + self.replace + self.delete

    @property
    def rate(self) -> float:
        """Percent of the reference that is wrong; more than 100 where much was put in."""
        return 100 * self.errors / max(1, self.length)


def align(reference: Sequence, hypothesis: Sequence) -> list[Step]:
    """The cheapest way from reference to hypothesis, every replacement, deletion and insertion at cost one."""
    rows = [list(range(len(hypothesis) + 1))]
    for i, one in enumerate(reference, 1):
        above, row = rows[-1], [i]
        for j, other in enumerate(hypothesis, 1):
            row.append(min(above[j - 1] + (one != other), above[j] + 1, row[j - 1] + 1))
        rows.append(row)
    steps: list[Step] = []
    i, j = len(reference), len(hypothesis)
    while i or j:
        same = i and j and reference[i - 1] == hypothesis[j - 1]
        if i and j and rows[i][j] == rows[i - 1][j - 1] + (not same):
            i, j = i - 1, j - 1
            steps.append(Step("equal" if same else "replace", i, j))
        elif i and rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
            steps.append(Step("delete", i, j))
        else:
            j -= 1
            steps.append(Step("insert", i, j))
    return steps[::-1]


def count(reference: Sequence, hypothesis: Sequence) -> Counts:
    """Steps of the alignment by kind."""
    kinds = [step.kind for step in align(reference, hypothesis)]
    return Counts(*(kinds.count(kind) for kind in Counts._fields))
