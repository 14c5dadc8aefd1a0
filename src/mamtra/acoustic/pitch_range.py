"""The range of the pitch: what a flow narrows, a vocoder with an F0 of its own can widen again."""

from __future__ import annotations

from typing import Any, NamedTuple

WIDEST = 2.0
"""F0 further from the middle than an octave, creak mostly, is moved as far as F0 an octave away."""


class PitchRange(NamedTuple):
    """How far F0 is moved away from its middle; as it is, it stays. In a batch both are arrays of one column.

    Attributes:
        middle: F0 in Hz that stays.
        factor: of the distance of all others from it, in octaves.
    """

    middle: Any = 1.0
    factor: Any = 1.0

    def of(self, f0: Any) -> Any:
        """F0 in Hz (..., T), of torch or numpy, with this range; unvoiced frames, of 0 Hz, stay so."""
        return f0 * (f0 / self.middle).clip(1 / WIDEST, WIDEST) ** (self.factor - 1)


AS_IT_IS = PitchRange()
