"""How long the chunks of a stream are."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mamtra.errors import MamTraError


class HopSchedule(BaseModel):
    """How many new speech tokens each call of the flow waits for, besides its look-ahead.

    Short hops give audio sooner and long ones cost less, so within a segment each hop is longer than the one before. A hop
    is extended to the end of a chunk of the flow (25 tokens, counted from the start of the prompt), so a first hop of 20
    tokens has 20 to 44. CosyVoice 2's own hops are ``HopSchedule(first=25, hop=50)``.

    Attributes:
        first: tokens before the first audio, at least.
        hop: tokens of the second hop.
        growth: ratio of each further hop to the one before, 1 to 10.
        most: tokens of the longest hop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int = Field(20, ge=1)
    hop: int = Field(25, ge=1)
    growth: float = Field(2, ge=1, le=10)
    most: int = Field(100, ge=1)

    def least(self, hops: int) -> int:
        """Tokens of the next hop after `hops` hops."""
        return self.first if hops == 0 else min(self.most, int(self.hop * self.growth ** min(hops - 1, 16)))

    @classmethod
    def parse(cls, text: str) -> HopSchedule:
        """Read ``FIRST``, ``FIRST,HOP`` or ``FIRST,HOP,MOST``, in speech tokens; what is left out keeps its default.

        Raises:
            MamTraError: it has another form.
        """
        try:
            return cls(**dict(zip(("first", "hop", "most"), map(int, text.split(",", 2)), strict=False)))
        except ValueError as error:
            raise MamTraError(
                f"Hops {text!r} cannot be read; give one to three whole numbers above 0 such as 25,50,100."
            ) from error
