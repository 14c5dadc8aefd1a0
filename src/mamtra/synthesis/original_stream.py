"""Streaming as the published CosyVoice 2 and 3 do it: every hop runs the flow over all tokens so far.

`mamtra.synthesis.streaming` computes each frame once and gives other samples: here the last hop attends to everything. CosyVoice
2's vocoder starts anew for each hop, with 8 frames of the hop before, and is cross-faded; CosyVoice 3's holds 8 frames back and
continues. So this is slower, and is there to compare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mamtra.acoustic.causal_hift import CausalHiFT
from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange
from mamtra.acoustic.vocoder_stream import VocoderStream
from mamtra.synthesis.model import Model
from mamtra.voices.voice import Voice

OVERLAP_FRAMES = 8
"""Mel frames that the vocoder hears again, whose samples are cross-faded with a Hamming window; CosyVoice 3 waits for as many."""


class CrossFadedVocoder:
    """The vocoder anew for each hop of an utterance, used as `VocoderStream` is.

    Args:
        vocoder: the vocoder.
        noise: returns the next n samples of noise, on the vocoder's device.
        pitch_range: of the voice.
    """

    def __init__(self, vocoder: HiFT, noise: Callable[[int], torch.Tensor], pitch_range: PitchRange = AS_IT_IS) -> None:
        self._vocoder, self._noise, self._pitch_range = vocoder, noise, pitch_range
        self._overlap = OVERLAP_FRAMES * vocoder.config.hop
        self._mel: torch.Tensor | None = None
        self._source: torch.Tensor | None = None
        self._tail: torch.Tensor | None = None

    @torch.inference_mode()
    def push(self, mel: torch.Tensor, final: bool = False) -> torch.Tensor:
        """Take frames (1, mel, n) and return their samples (1, T), without those that the next hop fades in."""
        if self._mel is not None:
            mel = torch.cat([self._mel, mel], dim=2)
        noise = self._noise(mel.shape[2] * self._vocoder.config.hop)
        made = self._vocoder.synthesize(mel, source_cache=self._source, noise=noise, pitch_range=self._pitch_range)
        wave = made.wave.float()
        if self._tail is not None:
            fading = torch.from_numpy(np.hamming(2 * self._overlap).astype(np.float32)).to(wave.device)
            wave[:, : self._overlap] *= fading[: self._overlap]
            wave[:, : self._overlap] += self._tail * fading[self._overlap :]
        if final:
            return wave
        self._mel, self._source = mel[:, :, -OVERLAP_FRAMES:], made.source[:, :, -self._overlap :]
        self._tail = wave[:, -self._overlap :]
        return wave[:, : -self._overlap]


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
        noise = model.vocoder.noise(torch.Generator().manual_seed(seed))

        def following(count: int) -> torch.Tensor:
            return noise(count).to(model.device)

        self._vocoder: CrossFadedVocoder | VocoderStream
        if isinstance(model.vocoder, CausalHiFT):
            self._vocoder = VocoderStream(model.vocoder, following, OVERLAP_FRAMES, voice.pitch_range)
        else:
            self._vocoder = CrossFadedVocoder(model.vocoder, following, voice.pitch_range)
        # With the prompt the first hop is a multiple of itself: at the published sizes it ends where a chunk of the flow ends.
        self._hops = [hops[0] + -len(voice.prompt_speech) % hops[0], *hops[1:]]
        self._tokens: list[int] = []
        self._done = 0

    @property
    def wanted(self) -> int:
        """How many tokens to push next."""
        return self._done + self._hops[0] + self._model.flow.config.pre_lookahead_len - len(self._tokens)

    @torch.inference_mode()
    def push(self, tokens: list[int], final: bool = False) -> np.ndarray:
        """Add tokens and get the samples (T,) of the hop, without those that the next hop is to give."""
        self._tokens += tokens
        return self._vocoder.push(self._new_frames(final), final).reshape(-1).float().cpu().numpy()

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

    def close(self) -> None:
        """Nothing is held elsewhere."""
