"""Seeds of segments, and when a run of the LM is repeated with another one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from mamtra.errors import MamTraError

_SEGMENT_STRIDE = 1_000_003
_ATTEMPT_STRIDE = 7_919


def segment_seed(seed: int, index: int, attempt: int = 0) -> int:
    """Seed of one attempt at one segment: its audio depends on the request's seed and its place in the text alone."""
    return (seed + index * _SEGMENT_STRIDE + attempt * _ATTEMPT_STRIDE) % 2**63


class TokenRun(NamedTuple):
    """A finished run of the LM.

    Attributes:
        tokens: speech tokens.
        finish_reason: "eos", or "length" where the length limit cut it off.
        attempt: its number, from 0.
    """

    tokens: list[int]
    finish_reason: str
    attempt: int


@dataclass(frozen=True)
class Retries:
    """When a run that gives no speech, or is cut off at the length limit, is repeated.

    Attributes:
        attempts: greatest number of runs of one segment.
        may_be_silent: whether a segment of which no run gave speech is left out; otherwise it is an error.
        take_cut: whether a run that was cut off is as good as one that came to an end.
    """

    attempts: int = 3
    may_be_silent: bool = False
    take_cut: bool = False

    def accepts(self, run: TokenRun) -> bool:
        """Whether no further run is to follow."""
        return bool(run.tokens) and (self._complete(run) or run.attempt + 1 == self.attempts)

    def best(self, runs: Iterable[TokenRun]) -> TokenRun | None:
        """The first run that comes to an end, else the shortest one; None where all are silent. Later runs are not asked for.

        Raises:
            MamTraError: all are silent, and `may_be_silent` is off.
        """
        kept: TokenRun | None = None
        for run in runs:
            if run.tokens and self._complete(run):
                return run
            if run.tokens and (kept is None or len(run.tokens) < len(kept.tokens)):
                kept = run
        if kept is None:
            self.give_up()
        return kept

    def _complete(self, run: TokenRun) -> bool:
        return self.take_cut or run.finish_reason == "eos"

    def give_up(self) -> None:
        """What follows when no run gave speech.

        Raises:
            MamTraError: `may_be_silent` is off.
        """
        if not self.may_be_silent:
            raise MamTraError("The model made no speech for a sentence; try another seed or voice.")


AS_IT_COMES = Retries(take_cut=True)
"""For speaking as CosyVoice 2 does, which takes what it gets."""
AGAIN = Retries()
"""For speaking."""
ONCE = Retries(attempts=1, may_be_silent=True)
"""For measurements, where how often a model fails is part of the result."""
