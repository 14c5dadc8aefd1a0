"""How the next speech token is drawn: the settings of repetition-aware sampling, shared by the sampler and by model files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt


class RASConfig(BaseModel):
    """Settings of repetition-aware sampling (VALL-E 2, arXiv 2406.05370) with CosyVoice 2's defaults.

    Attributes:
        top_p: candidates are taken until their probabilities sum to this.
        top_k: greatest number of candidates.
        win_size: number of latest tokens that are searched for the drawn one.
        tau_r: fraction of the window from which on a draw counts as a repetition.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    top_p: float = Field(0.8, gt=0, le=1)
    top_k: PositiveInt = 25
    win_size: NonNegativeInt = 10
    tau_r: NonNegativeFloat = 0.1
