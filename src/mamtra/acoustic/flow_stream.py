"""The flow while tokens are still arriving: every chunk is computed once.

With chunk masks (CosyVoice 2, section 2.3) no chunk depends on later ones, except for the look-ahead of the first layer. So
encoder and estimator continue from the cached keys, values and convolution inputs instead of recomputing everything, and the
result is that of `CausalFlow.inference` with `streaming=True` over all tokens at once. With a bounded history
(`mamtra.acoustic.history`) it is that of one pass in which attention is masked likewise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.acoustic.causal_flow import CausalFlow
from mamtra.acoustic.history import Span
from mamtra.acoustic.stream_cache import StreamCache


class FlowStream:
    """Mel of one utterance, or of several in lockstep, block by block.

    The estimator's cache is two keys and values (with guidance) for each layer, step and frame: 4.6 MB a frame at CosyVoice
    2's sizes, 10 steps, in float32; 3.6 MB at CosyVoice 3's.

    Args:
        flow: the flow, in evaluation mode.
        prompt_token: (B, P) int64.
        prompt_feat: (B, ratio*P, mel), time first.
        embedding: (B, spk_embed_dim).
        steps: Euler steps.
        guidance: as in `CausalFlow.inference`.
        noise: as in `CausalFlow.inference`.
        history: frames before a chunk that it sees besides the prompt's; 0 sees all. See `mamtra.acoustic.history.Span.of`.
        sinks: first frames behind the prompt's chunks that are always seen.

    Raises:
        MamTraError: there is no such history.

    Attributes:
        offset: tokens encoded so far, those of the prompt included.
    """

    @torch.inference_mode()
    def __init__(
        self,
        flow: CausalFlow,
        prompt_token: Tensor,
        prompt_feat: Tensor,
        embedding: Tensor,
        *,
        steps: int = 10,
        guidance: float | None = None,
        noise: Tensor | None = None,
        history: int = 0,
        sinks: int = 0,
    ) -> None:
        self._flow, self._steps, self._guidance, self._noise = flow, steps, guidance, noise
        self._speaker = flow.speaker(embedding)
        self._prompt = prompt_feat.transpose(1, 2)
        self._waiting = prompt_token
        self._cache = StreamCache(Span.of(flow.config, prompt_token.shape[1], history, sinks))
        self.offset = 0

    @property
    def bytes(self) -> int:
        """Memory of the cache."""
        return self._cache.bytes

    @property
    def private_bytes(self) -> int:
        """Memory of the cache beyond what the stream that this one was forked from held then."""
        return self._cache.private_bytes

    def wanted(self, least: int) -> int:
        """Tokens to push for the next mel.

        Args:
            least: new tokens whose mel is wanted, at least.

        Returns:
            The smallest count that completes a chunk with that many new tokens in it, and its look-ahead.
        """
        chunk = self._flow.config.chunk_size
        of_prompt = max(0, self._prompt.shape[2] // self._flow.config.token_mel_ratio - self.offset)
        complete = -(-(of_prompt + least) // chunk) * chunk
        return max(0, complete + self._flow.config.pre_lookahead_len - self._waiting.shape[1])

    def fork(self) -> FlowStream:
        """A second stream that continues from here: one pass over a voice's prompt serves all requests with that voice."""
        other = object.__new__(FlowStream)
        other.__dict__.update(self.__dict__)
        other._cache = self._cache.fork()
        return other

    @torch.inference_mode()
    def push(self, token: Tensor, final: bool = False) -> Tensor:
        """Take tokens and return the mel that no later token changes.

        Args:
            token: (B, n) int64, n >= 0.
            final: these are the last ones; the rest is returned.

        Returns:
            (B, mel, frames) float32 of new tokens, in whole chunks of prompt and tokens together; often no frames.
        """
        flow, config = self._flow, self._flow.config
        waiting = torch.cat([self._waiting, token], dim=1)
        ready = waiting.shape[1]
        if not final:
            ready = max(0, (ready - config.pre_lookahead_len) // config.chunk_size) * config.chunk_size
        if ready == 0:
            self._waiting = waiting
            return self._prompt.new_zeros(token.shape[0], config.output_size, 0)
        context = None if final else flow.input_embedding(waiting[:, ready : ready + config.pre_lookahead_len])
        embedded = flow.input_embedding(waiting[:, :ready])
        mu = flow.encode(embedded, None, context, config.chunk_size, self._cache, self.offset).contiguous()
        ratio, frames = config.token_mel_ratio, mu.shape[2]
        begin = self.offset * ratio
        given = self._prompt[:, :, begin : begin + frames]
        cond = torch.zeros_like(mu)
        cond[:, :, : given.shape[2]] = given
        mel = flow.decoder.sample(
            mu,
            None,
            self._speaker.to(mu.dtype),
            cond,
            steps=self._steps,
            guidance=self._guidance,
            noise=self._noise,
            chunk=config.chunk_size * ratio,
            cache=self._cache,
            offset=begin,
        )
        self._waiting = waiting[:, ready:]
        self.offset += ready
        return mel[:, :, given.shape[2] :]
