"""Speech tokens, speaker embedding and prompt mel to mel spectrogram: what the flows of CosyVoice 2 and 3 have in common.

A flow embeds tokens, makes a mean of the mel out of them (`encode`) and samples the mel around it by flow matching. The flows
differ in how they encode and in the vector field.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor, nn

from mamtra.acoustic.flow_matching import FlowMatching, cosine_schedule
from mamtra.acoustic.flow_steps import MOST_STEPS
from mamtra.acoustic.masks import valid_positions
from mamtra.acoustic.stream_cache import StreamCache
from mamtra.errors import MamTraError
from mamtra.runtime.cuda_graphs import GraphCache
from mamtra.runtime.strict_models import Size


class CausalFlowConfig(BaseModel):
    """Sizes that every flow has; the defaults are CosyVoice 2's.

    Widths are in channels, `chunk_size` and `pre_lookahead_len` in tokens of 40 ms. A few-step flow (`mamtra.distill.flow`)
    names in `trained_steps` how many steps it can take; it has the guidance of its teacher learned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_size: Size = 512
    output_size: Size = 80
    spk_embed_dim: Size = 192
    vocab_size: Size = 6561
    token_mel_ratio: Size = 2
    pre_lookahead_len: NonNegativeInt = 3
    chunk_size: Size = 25
    sigma_min: float = Field(1e-6, ge=0, lt=1)
    inference_cfg_rate: NonNegativeFloat = 0.7
    training_cfg_rate: NonNegativeFloat = 0.2
    trained_steps: tuple[Annotated[int, Field(ge=1, le=MOST_STEPS)], ...] = ()

    @model_validator(mode="after")
    def _few_steps_need_no_guidance(self) -> CausalFlowConfig:
        if self.trained_steps and self.inference_cfg_rate:
            raise ValueError("a flow with trained_steps has no guidance: inference_cfg_rate must be 0")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Earlier versions refuse the key, and can read every other flow."""
        content = dump(self)
        if not self.trained_steps:
            del content["trained_steps"]
        return content


class FlowNoise(NamedTuple):
    """Random inputs of one training step: t (B,), noise (B, ratio*N, mel), keep (B,), cond_len (B,) int64."""

    t: Tensor
    noise: Tensor
    keep: Tensor
    cond_len: Tensor


class FlowConditions(NamedTuple):
    """What the vector field of a batch is told: mu (B, mel, T), valid (B, T) bool, spks (B, mel), cond (B, mel, T), and the chunk
    of its attention in frames, 0 for none."""

    mu: Tensor
    valid: Tensor
    spks: Tensor
    cond: Tensor
    chunk: int


class CausalFlow(nn.Module, ABC):
    """A flow-matching decoder with the parameter names of the published one; a subclass adds `decoder` and what `encode` needs."""

    decoder: FlowMatching

    def __init__(self, config: CausalFlowConfig) -> None:
        super().__init__()
        self.config = config
        self.input_embedding = nn.Embedding(config.vocab_size, config.input_size)
        self.spk_embed_affine_layer = nn.Linear(config.spk_embed_dim, config.output_size)

    @abstractmethod
    def encode(
        self,
        embedded: Tensor,
        lengths: Tensor | None = None,
        context: Tensor | None = None,
        chunk: int = 0,
        cache: StreamCache | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Make the mean of the mel.

        Args:
            embedded: (B, N, input_size) token embeddings, zero at padding.
            lengths: (B,) valid tokens, or None when nothing is padded.
            context: (B, pre_lookahead_len, input_size) embeddings of the tokens that follow, as look-ahead only; None at the end.
            chunk: chunk length in tokens for chunk-masked attention; 0 attends everywhere.
            cache: of a stream; needs `lengths` None and `offset` a multiple of `chunk`.
            offset: tokens of the stream before these.

        Returns:
            (B, mel, ratio*N); undefined beyond `lengths`.
        """

    def use_graphs(self, graphs: GraphCache) -> None:
        """Run the estimator in inference through captured graphs, from now on; `graphs` may serve nothing else.

        Decide it when the flow is loaded on its device: a stream's cache fits the estimator that filled it.
        """
        self.decoder.use_graphs(graphs)

    def speaker(self, embedding: Tensor) -> Tensor:
        """Normalise a speaker embedding (B, spk_embed_dim) to unit length and project it to (B, mel)."""
        layer = self.spk_embed_affine_layer
        return layer(F.normalize(embedding, dim=1).to(layer.weight.dtype))

    @torch.inference_mode()
    def inference(
        self,
        token: Tensor,
        prompt_token: Tensor,
        prompt_feat: Tensor,
        embedding: Tensor,
        *,
        steps: int = 10,
        streaming: bool = False,
        finalize: bool = True,
        guidance: float | None = None,
        noise: Tensor | None = None,
        token_len: Tensor | None = None,
        prompt_len: Tensor | None = None,
    ) -> Tensor:
        """Synthesise the mel of `token` in the voice and acoustics of the prompt.

        Args:
            token: (B, N) int64 speech tokens, right padded where `token_len` is given.
            prompt_token: (B, P) tokens of the prompt, P >= 0, right padded where `prompt_len` is given.
            prompt_feat: (B, ratio*P, mel) mel of the prompt, time first, padded likewise.
            embedding: (B, spk_embed_dim) speaker embedding.
            steps: Euler steps.
            streaming: attend by chunks of `chunk_size` tokens, so that earlier chunks do not depend on later tokens.
            finalize: False uses the last `pre_lookahead_len` tokens as look-ahead only and makes no frames of them.
            guidance: weight of classifier-free guidance; None takes the configuration's, 0 runs one branch only.
            noise: (B or 1, mel, >= frames with prompt) standard normal; None takes `fixed_noise`.
            token_len: (B,) int64 valid tokens of each row, or None when all rows are full. Needs `finalize`.
            prompt_len: (B,) int64 valid tokens of each prompt, or None when all are full. Needs `token_len`.

        Returns:
            (B, mel, ratio*N) float32 mel of the new tokens (without those of the look-ahead); undefined beyond
            ratio*token_len.

        Raises:
            MamTraError: lengths are combined with `finalize=False`, there are too few tokens or too little noise, or the flow
                cannot take so many steps.
        """
        config = self.config
        tokens = torch.cat([prompt_token, token], dim=1)
        lengths = None if token_len is None else token_len + prompt_token.shape[1]
        prompt_feat = prompt_feat.transpose(1, 2)
        if prompt_len is not None and token_len is not None:
            # The tokens of each row follow its own prompt.
            tokens, lengths = _move_left(tokens, prompt_token.shape[1], prompt_len), token_len + prompt_len
            own = valid_positions(prompt_len * config.token_mel_ratio, prompt_feat.shape[2])
            prompt_feat = prompt_feat * own[:, None]
        if not finalize and lengths is not None:
            raise MamTraError("Rows of different lengths cannot wait for look-ahead; pass finalize=True or one row.")
        if tokens.shape[1] <= (0 if finalize else config.pre_lookahead_len):
            raise MamTraError("There are too few speech tokens for one mel frame; pass more of them.")
        embedded, context = self._embed(tokens, lengths), None
        if not finalize:
            context = embedded[:, -config.pre_lookahead_len :]
            embedded = embedded[:, : -config.pre_lookahead_len]
        chunk = config.chunk_size if streaming else 0
        mu = self.encode(embedded, lengths, context, chunk)
        start = prompt_feat.shape[2]
        cond = F.pad(prompt_feat.to(mu.dtype), (0, mu.shape[2] - start))
        valid = None if lengths is None else valid_positions(lengths * config.token_mel_ratio, mu.shape[2])
        mel = self.decoder.sample(
            mu.contiguous(),
            valid,
            self.speaker(embedding).to(mu.dtype),
            cond,
            steps=steps,
            guidance=guidance,
            noise=noise,
            chunk=chunk * config.token_mel_ratio,
        )
        if prompt_len is None:
            return mel[:, :, start:]
        first = (prompt_len * config.token_mel_ratio)[:, None, None]
        frame = torch.arange(mel.shape[2] - start, device=mel.device)
        return mel.gather(2, (first + frame).expand(-1, mel.shape[1], -1))

    def loss(
        self,
        token: Tensor,
        token_len: Tensor,
        feat: Tensor,
        feat_len: Tensor,
        embedding: Tensor,
        cond_len: Tensor,
        t: Tensor,
        noise: Tensor,
        keep: Tensor,
        streaming: bool = False,
        prior_weight: float = 0.0,
    ) -> Tensor:
        """Conditional flow-matching loss of a padded batch; its random inputs are arguments (see `sample_noise`).

        Nothing here reads a tensor's value on the host, so a step of fixed shapes can be captured in a CUDA graph.

        Args:
            token: (B, N) int64 speech tokens, right padded with any token or -1.
            token_len: (B,) int64.
            feat: (B, ratio*N, mel) mel, time first.
            feat_len: (B,) int64 valid mel frames.
            embedding: (B, spk_embed_dim).
            cond_len: (B,) int64 frames of the mel that are given as prompt.
            t: (B,) flow times, already through `cosine_schedule`.
            noise: like `feat`, standard normal.
            keep: (B,) 1 or 0; 0 drops all conditions of a row.
            streaming: train with chunk masks.
            prior_weight: weight of the mean absolute difference between the encoder's output and the mel. CosyVoice 2
                trains without it; as in Grad-TTS (Popov et al. 2021) it speeds up the training of small models.

        Returns:
            Scalar float32, the mean over valid frames and mel bins.
        """
        given = self.conditions(token, token_len, feat, feat_len, embedding, cond_len, streaming)
        return self.loss_given(given, feat, t=t, noise=noise, keep=keep, prior_weight=prior_weight)

    def conditions(
        self,
        token: Tensor,
        token_len: Tensor,
        feat: Tensor,
        feat_len: Tensor,
        embedding: Tensor,
        cond_len: Tensor,
        streaming: bool = False,
    ) -> FlowConditions:
        """What the vector field is told of a padded batch; arguments as for `loss`."""
        chunk = self.config.chunk_size if streaming else 0
        return FlowConditions(
            mu=self.encode(self._embed(token, token_len), token_len, chunk=chunk),
            valid=valid_positions(feat_len, feat.shape[1]),
            spks=self.speaker(embedding),
            cond=feat.transpose(1, 2) * valid_positions(cond_len, feat.shape[1])[:, None],
            chunk=chunk * self.config.token_mel_ratio,
        )

    def loss_given(
        self, given: FlowConditions, feat: Tensor, *, t: Tensor, noise: Tensor, keep: Tensor, prior_weight: float = 0.0
    ) -> Tensor:
        """`loss` where the conditions are there already."""
        target = feat.transpose(1, 2)
        prior = ((given.mu.float() - target).abs() * given.valid[:, None]).sum()
        prior = prior / (given.valid.sum() * target.shape[1])
        return prior_weight * prior + self.decoder.loss(
            target, given.valid, given.mu, given.spks, given.cond,
            t=t, noise=noise.transpose(1, 2), keep=keep, chunk=given.chunk,
        )  # fmt: skip

    def sketch(self, given: FlowConditions, noise: Tensor, rows: int, steps: int) -> Tensor:
        """Mel of the first `rows` rows in a few steps without guidance, with gradients; for losses that judge what is sampled.

        Args:
            given: conditions of a batch.
            noise: (B, ratio*N, mel) standard normal.
            rows: at most B.
            steps: Euler steps.

        Returns:
            (rows, ratio*N, mel) float32, undefined at padding.
        """
        return self.decoder.sample(
            given.mu[:rows], given.valid[:rows], given.spks[:rows], given.cond[:rows],
            steps=steps, guidance=0.0, noise=noise[:rows].transpose(1, 2), chunk=given.chunk,
        ).transpose(1, 2)  # fmt: skip

    def sample_noise(self, feat_len: Tensor, frames: int, generator: torch.Generator | None = None) -> FlowNoise:
        """Sample the random inputs of one training step on the device of `feat_len`, without a host synchronisation.

        Half of the rows get a prompt of up to 30% of their frames, as in CosyVoice 2's training; conditions are
        dropped with `training_cfg_rate`.

        Args:
            feat_len: (B,) int64 valid mel frames.
            frames: padded frames.
            generator: source of randomness, on the same device.

        Returns:
            Arguments for `loss`.
        """
        device, batch = feat_len.device, feat_len.shape[0]
        uniform = torch.rand(4, batch, device=device, generator=generator)
        noise = torch.randn(batch, frames, self.config.output_size, device=device, generator=generator)
        longest = (0.3 * feat_len).floor() + 1
        cond_len = (uniform[2] * longest).long() * (uniform[3] < 0.5)
        keep = (uniform[1] > self.config.training_cfg_rate).float()
        return FlowNoise(cosine_schedule(uniform[0]), noise, keep, cond_len)

    def _embed(self, token: Tensor, lengths: Tensor | None) -> Tensor:
        embedded = self.input_embedding(token.clamp(min=0))
        return embedded if lengths is None else embedded * valid_positions(lengths, token.shape[1])[:, :, None]


def _move_left(x: Tensor, start: int, to: Tensor) -> Tensor:
    """Move the entries from `start` on in each row of (B, N) to begin at `to` (B,); the end of a row is undefined."""
    position = torch.arange(x.shape[1], device=x.device)
    shift = (start - to)[:, None]
    return x.gather(1, torch.where(position < to[:, None], position, position + shift).clamp(max=x.shape[1] - 1))
