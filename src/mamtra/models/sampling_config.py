"""How speech tokens are drawn and how many: settings that the engine and the model files share."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mamtra.runtime.strict_models import ClosedModel


class RASConfig(ClosedModel):
    """Settings of repetition-aware sampling (VALL-E 2, arXiv 2406.05370) with CosyVoice 2's defaults.

    Attributes:
        top_p: candidates are taken until their probabilities sum to this.
        top_k: greatest number of candidates.
        win_size: number of latest tokens that are searched for the drawn one.
        tau_r: fraction of the window from which on a draw counts as a repetition.
    """

    top_p: float = Field(0.8, gt=0, le=1)
    top_k: PositiveInt = 25
    win_size: NonNegativeInt = 10
    tau_r: NonNegativeFloat = 0.1


DEFAULT_RAS = RASConfig()


class LengthConfig(ClosedModel):
    """How many speech tokens a text may have; the ratios are CosyVoice 2's.

    Attributes:
        min_ratio: speech tokens per text id before the end may be drawn.
        max_ratio: greatest number of speech tokens per text id.
        min_tokens: speech tokens before the end may be drawn, however short the text is.
        min_limit: number of speech tokens that every text may have: the silence at both ends of "Oh." is as long as that of a
            sentence.
    """

    min_ratio: NonNegativeFloat = 2.0
    max_ratio: PositiveFloat = 20.0
    min_tokens: NonNegativeInt = 0
    min_limit: NonNegativeInt = 0

    def shortest(self, text_ids: int) -> int:
        """Number of tokens before the end may be drawn, for a text of so many ids."""
        return max(self.min_tokens, int(text_ids * self.min_ratio))

    def longest(self, text_ids: int) -> int:
        """Greatest number of tokens, for a text of so many ids."""
        return max(self.min_limit, self.min_tokens, int(text_ids * self.max_ratio))


DEFAULT_LENGTHS = LengthConfig()
