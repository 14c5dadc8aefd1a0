"""Seeds of segments, what is kept of a run of the LM, and when it is repeated with another seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.errors import MamTraError

_SEGMENT_STRIDE = 1_000_003
_ATTEMPT_STRIDE = 7_919
MOST_SILENT = 5


def segment_seed(seed: int, index: int, attempt: int = 0) -> int:
    """Seed of one attempt at one segment: its audio depends on the request's seed and its place in the text alone."""
    return (seed + index * _SEGMENT_STRIDE + attempt * _ATTEMPT_STRIDE) % 2**63


def without_long_silence(tokens: Iterable[int], settings: GenerationConfig) -> Iterator[int]:
    """Speech tokens without the sixth and later ones of each row of `settings.silent_tokens`, as CosyVoice 3 speaks."""
    silent, row = set(settings.silent_tokens), 0
    for token in tokens:
        row = row + 1 if token in silent else 0
        if row <= MOST_SILENT:
            yield token


class TokenRun(NamedTuple):
    """A finished run of the LM.

    Attributes:
        tokens: speech tokens.
        finish_reason: "eos", or "length" where the length limit cut it off.
        attempt: its number, from 0.
        misread: text ids that were left out or said twice, see `mamtra.synthesis.coverage`.
        read: how much of the text is read when, see `mamtra.synthesis.coverage.read_by`.
    """

    tokens: list[int]
    finish_reason: str
    attempt: int
    misread: float = 0.0
    read: np.ndarray | None = None


@dataclass(frozen=True)
class Retries:
    """When a run that gives no speech, is cut off at the length limit, or leaves words out or says them twice, is repeated.

    Attributes:
        attempts: greatest number of runs of one segment.
        may_be_silent: whether a segment of which no run gave speech is left out; otherwise it is an error.
        take_cut: whether a run that was cut off is as good as one that came to an end.
    """

    attempts: int = 5
    may_be_silent: bool = False
    take_cut: bool = False

    def accepts(self, run: TokenRun) -> bool:
        """Whether no further run is to follow."""
        return self._is_good(run) or (bool(run.tokens) and run.attempt + 1 == self.attempts)

    def best(self, runs: Iterable[TokenRun]) -> TokenRun | None:
        """The first good run, else of those that come to an end the one with the least misread, else the shortest one.

        None where all are silent. Later runs are not asked for.

        Raises:
            MamTraError: all are silent, and `may_be_silent` is off.
        """
        kept: TokenRun | None = None
        for run in runs:
            if self._is_good(run):
                return run
            if run.tokens and (kept is None or _badness(run) < _badness(kept)):
                kept = run
        if kept is None:
            self.give_up()
        return kept

    def _is_good(self, run: TokenRun) -> bool:
        return bool(run.tokens) and not run.misread and (self.take_cut or run.finish_reason == "eos")

    def give_up(self) -> None:
        """What follows when no run gave speech.

        Raises:
            MamTraError: `may_be_silent` is off.
        """
        if not self.may_be_silent:
            raise MamTraError("The model made no speech for a sentence; try another seed or voice.")


def _badness(run: TokenRun) -> tuple[bool, float]:
    ended = run.finish_reason == "eos"
    return not ended, run.misread if ended else len(run.tokens)


AS_IT_COMES = Retries(take_cut=True)
"""For speaking as CosyVoice 2 does, which takes what it gets."""
AGAIN = Retries()
"""For speaking."""
ONCE = Retries(attempts=1, may_be_silent=True)
"""For measurements, where how often a model fails is part of the result."""
