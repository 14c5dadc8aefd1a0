"""The flow of CosyVoice 3: a look-ahead convolution over narrow embeddings and a diffusion Transformer as the vector field."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from mamtra.acoustic.causal_flow import CausalFlow, CausalFlowConfig
from mamtra.acoustic.dit import POSITION_GROUPS, DiT
from mamtra.acoustic.flow_matching import FlowMatching
from mamtra.acoustic.stream_cache import StreamCache
from mamtra.acoustic.token_encoder import PreLookahead


class DiTFlowConfig(CausalFlowConfig):
    """Sizes of the flow; the defaults are CosyVoice 3's (Fun-CosyVoice3-0.5B)."""

    architecture: Literal["dit"] = "dit"
    input_size: int = Field(80, ge=1, le=4096)
    lookahead_channels: int = Field(1024, ge=1, le=16384)
    dit_width: int = Field(1024, ge=POSITION_GROUPS, le=16384, multiple_of=POSITION_GROUPS)
    dit_depth: int = Field(22, ge=1, le=256)
    dit_heads: int = Field(16, ge=1, le=256)
    dit_head_dim: int = Field(64, ge=2, le=1024, multiple_of=2)
    dit_ff_mult: int = Field(2, ge=1, le=16)

    @model_validator(mode="after")
    def _one_width(self) -> DiTFlowConfig:
        if self.input_size != self.output_size:
            raise ValueError("input_size must be output_size, since the embedded tokens are the mean of the mel")
        return self


class DiTFlow(CausalFlow):
    """The flow of CosyVoice 3."""

    def __init__(self, config: DiTFlowConfig) -> None:
        super().__init__(config)
        self.ratio = config.token_mel_ratio
        self.pre_lookahead_layer = PreLookahead(config.input_size, config.pre_lookahead_len, config.lookahead_channels)
        estimator = DiT(
            config.output_size,
            config.dit_width,
            config.dit_depth,
            config.dit_heads,
            config.dit_head_dim,
            config.dit_ff_mult,
            bool(config.trained_steps),
        )
        self.decoder = FlowMatching(estimator, config.sigma_min, config.inference_cfg_rate, config.trained_steps)

    def encode(
        self,
        embedded: Tensor,
        lengths: Tensor | None = None,
        context: Tensor | None = None,
        chunk: int = 0,
        cache: StreamCache | None = None,
        offset: int = 0,
    ) -> Tensor:
        """See `CausalFlow.encode`; each token's mean is repeated for its frames."""
        hidden = self.pre_lookahead_layer(embedded, context, cache)
        return hidden.repeat_interleave(self.ratio, dim=1).transpose(1, 2)
