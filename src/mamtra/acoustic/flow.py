"""The flow of CosyVoice 2: a Conformer encoder and a U-Net as the vector field."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from mamtra.acoustic.causal_flow import CausalFlow, CausalFlowConfig
from mamtra.acoustic.estimator import Estimator
from mamtra.acoustic.flow_matching import FlowMatching
from mamtra.acoustic.stream_cache import StreamCache
from mamtra.acoustic.token_encoder import UpsampleConformer
from mamtra.runtime.strict_models import Size


class FlowConfig(CausalFlowConfig):
    """Sizes of the flow; the defaults are CosyVoice 2's."""

    encoder_heads: Size = 8
    encoder_ffn: Size = 2048
    encoder_blocks: Size = 6
    encoder_up_blocks: Size = 4
    encoder_dropout: float = Field(0.1, ge=0, lt=1)
    estimator_channels: Size = 256
    estimator_heads: Size = 8
    estimator_head_dim: Size = 64
    estimator_n_blocks: Size = 4
    estimator_mid_blocks: Size = 12


class Flow(CausalFlow):
    """The flow of CosyVoice 2."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__(config)
        mel = config.output_size
        self.encoder = UpsampleConformer(
            config.input_size,
            config.encoder_heads,
            config.encoder_ffn,
            config.encoder_blocks,
            config.encoder_up_blocks,
            config.pre_lookahead_len,
            config.token_mel_ratio,
            config.encoder_dropout,
        )
        self.encoder_proj = nn.Linear(config.input_size, mel)
        estimator = Estimator(
            4 * mel,
            mel,
            config.estimator_channels,
            config.estimator_heads,
            config.estimator_head_dim,
            config.estimator_n_blocks,
            config.estimator_mid_blocks,
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
        """See `CausalFlow.encode`."""
        hidden = self.encoder(embedded, lengths, context, chunk, cache=cache, offset=offset)
        return self.encoder_proj(hidden).transpose(1, 2)
