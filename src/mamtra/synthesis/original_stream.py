"""Streaming as the published CosyVoice 2 does it: every hop runs the flow over all tokens so far.

`mamtra.synthesis.streaming` computes each frame once and gives other samples: here the last hop attends to everything, and the
vocoder starts anew for each hop, with 8 frames of the hop before, and is cross-faded. So this is slower, and is there to compare.
"""

from __future__ import annotations

import numpy as np
import torch

from mamtra.synthesis.model import Model
from mamtra.synthesis.token2wav import vocoder_noise
from mamtra.voices.voice import Voice

OVERLAP_FRAMES = 8
"""Mel frames that the vocoder hears again, and whose samples are cross-faded with a Hamming window."""


class OriginalStream:
    """Speech tokens of one segment to samples; used as `mamtra.synthesis.streaming.SegmentStream` is.

    Args:
        model: the model.
        voice: to speak with.
        seed: of the vocoder's noise.
        hops: tokens of each hop; the last one is repeated.
    """

    def __init__(self, model: Model, voice: Voice, *, seed: int, hops: tuple[int, ...] = (25, 50, 100)) -> None:
        self._model, self._voice = model, voice
        self._generator = torch.Generator().manual_seed(seed)
        config = model.flow.config
        # The first hop ends where a chunk of the flow ends.
        self._hops = [hops[0] + -len(voice.prompt_speech) % config.chunk_size, *hops[1:]]
        self._tokens: list[int] = []
        self._done = 0
        self._overlap = OVERLAP_FRAMES * model.vocoder.config.hop
        self._mel: torch.Tensor | None = None
        self._source: torch.Tensor | None = None
        self._tail: np.ndarray | None = None

    @property
    def wanted(self) -> int:
        """How many tokens to push next."""
        return self._done + self._hops[0] + self._model.flow.config.pre_lookahead_len - len(self._tokens)

    @torch.inference_mode()
    def push(self, tokens: list[int], final: bool = False) -> np.ndarray:
        """Add tokens and get the samples (T,) of the hop, without those that the next hop fades in."""
        self._tokens += tokens
        mel = self._new_frames(final)
        if self._mel is not None:
            mel = torch.cat([self._mel, mel], dim=2)
        noise = vocoder_noise(mel.shape[2] * self._model.vocoder.config.hop, self._generator).to(mel.device)
        made = self._model.vocoder.synthesize(mel, source_cache=self._source, noise=noise)
        samples = made.wave.reshape(-1).float().cpu().numpy()
        if self._tail is not None:
            fading = np.hamming(2 * self._overlap).astype(np.float32)
            samples[: self._overlap] *= fading[: self._overlap]
            samples[: self._overlap] += self._tail * fading[self._overlap :]
        if final:
            return samples
        self._mel, self._source = mel[:, :, -OVERLAP_FRAMES:], made.source[:, :, -self._overlap :]
        self._tail = samples[-self._overlap :]
        return samples[: -self._overlap]

    def _new_frames(self, final: bool) -> torch.Tensor:
        """Mel (1, mel, T) of the tokens that no hop has spoken yet, the look-ahead excepted."""
        model, voice = self._model, self._voice
        tokens = torch.tensor([self._tokens], dtype=torch.int64, device=model.device)
        mel = model.flow.inference(
            tokens,
            voice.prompt_speech[None].to(model.device),
            voice.prompt_mel[None].to(model.device),
            voice.embedding[None].to(model.device),
            steps=model.generation.flow_steps,
            streaming=not final,
            finalize=final,
        )
        mel = mel[:, :, self._done * model.flow.config.token_mel_ratio :]
        if not final:
            self._done += self._hops[0]
            self._hops = self._hops[1:] or self._hops
        return mel
