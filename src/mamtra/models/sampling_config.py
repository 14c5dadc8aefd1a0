"""How speech tokens are drawn, how many, and in what rows: settings that the engine and the model files share."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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


class GuardConfig(ClosedModel):
    """Guards against speech that hangs: limits of rows of tokens.

    Attributes:
        most_repeats: a token may follow itself until it has come so many times in a row; 0 for no limit.
        most_silence: at most so many tokens of silence in a row; 0 for no limit.
    """

    most_repeats: NonNegativeInt = 0
    most_silence: NonNegativeInt = 0

    def barred(self, history: Sequence[int], silent: Collection[int]) -> list[int]:
        """Tokens that may not come next.

        Args:
            history: tokens so far, the latest last.
            silent: tokens of silence.
        """
        found: list[int] = []
        if 0 < self.most_repeats <= len(history) and len(set(history[-self.most_repeats :])) == 1:
            found.append(history[-1])
        if 0 < self.most_silence <= len(history) and all(t in silent for t in history[-self.most_silence :]):
            found += silent
        return found


NO_GUARDS = GuardConfig()
