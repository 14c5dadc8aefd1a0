"""The vocoder for one hop of many streams: a window of frames of fixed length that moves on by one hop.

As in `mamtra.acoustic.vocoder_stream`, the samples are those of one pass over all frames, except that each stream's noise comes
from a table. Each stage is computed as far as the samples of the hop depend on it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.hop_hift import HopHiFT
from mamtra.acoustic.masks import valid_positions
from mamtra.acoustic.receptive_field import stage_fields
from mamtra.acoustic.stft import istft, stft
from mamtra.errors import MamTraError

TOGETHER = 64
"""Rows that are decoded at a time: what lies between two layers of more does not stay in a GPU's cache, and takes memory."""
NOISE = 2**22
"""Samples in the table of noise, three minutes; where a stream begins in it depends on its seed."""


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def noise_on(device: torch.device) -> Tensor:
    """The table of noise (NOISE,), standard normal of seed 0; shared, read-only."""
    return torch.randn(NOISE, generator=torch.Generator().manual_seed(0)).to(device)


class HopVocoder:
    """A vocoder with the sizes of its window.

    Args:
        vocoder: of CosyVoice 2's kind, in evaluation mode.
        frames: mel frames of a hop.

    Attributes:
        frames: see above.
        before: frames of the window in front of those whose samples are made.
        size: frames of the window, the last `frames` of which are new in a hop.
        state: numbers that a stream keeps, zeros at its start.

    Raises:
        MamTraError: the vocoder is of another kind.
    """

    def __init__(self, vocoder: HiFT, frames: int) -> None:
        if type(vocoder) is not HiFT:
            raise MamTraError("Hops need the vocoder of CosyVoice 2.")
        self.vocoder, self.frames, self._fields = vocoder, frames, stage_fields(vocoder.config)
        self._layers = HopHiFT(vocoder)
        self.before, self._after = vocoder.receptive_field()
        self.size = self.before + frames + self._after
        self._mel = (vocoder.config.in_channels, self.size - frames)
        self._source = self.before * vocoder.config.hop
        self.state = self._mel[0] * self._mel[1] + self._source + vocoder.m_source.harmonics

    def __call__(self, mel: Tensor, state: Tensor, begin: Tensor, end: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """One hop.

        Args:
            mel: (B, mel, frames) new frames, float32.
            state: (B, numbers) float32.
            begin: (B,) int64 frame of the window that is the utterance's first, 0 or less if that is longer ago.
            end: (B,) int64 frame of the window at which the utterance ends, `size` or more if it goes on.
            noise: (B,) int64 place in the table of noise of the first sample made, which is that of frame `before`.

        Returns:
            Samples (B, frames * hop) of the frames from `before` on, zero outside of the utterance, and the next state.
        """
        hop, source = self.vocoder.config.hop, self.vocoder.m_source
        begin, end = begin.clamp(0, self.size), end.clamp(0, self.size)
        held, excitation, phase = state.split([self._mel[0] * self._mel[1], self._source, source.harmonics], dim=1)
        window = torch.cat([held.unflatten(1, self._mel), mel], dim=2)
        exists = _inside(begin, end, self.size)[:, None]
        window = torch.where(exists, window, 0.0)
        # A rounding error of F0 adds up in the phase of all frames that follow.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            f0 = self.vocoder.f0_predictor(window, exists)[:, self.before :]
        drawn = noise[:, None] + torch.arange((self.size - self.before) * hop, device=mel.device)
        noises = noise_on(mel.device)[drawn % NOISE][:, :, None]
        phase = phase[:, :, None]
        fresh = source(f0, noises, phase=phase, begin=begin - self.before)[:, 0]
        excitation = torch.cat([excitation, fresh], dim=1)
        parts = zip(*(value.split(TOGETHER) for value in (window, excitation, begin, end)), strict=True)
        wave = torch.cat([self._decode(*part) for part in parts])
        first = self.frames * hop
        kept = (
            window[:, :, self.frames :].flatten(1),
            excitation[:, first : first + self._source],
            source.phase_after(f0[:, : self.frames], phase)[:, :, 0],
        )
        return wave, torch.cat(kept, dim=1)

    def _decode(self, mel: Tensor, source: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """`HiFT.decode` of the frames of the hop."""
        config = self.vocoder.config
        fourier, hop, last = (config.istft_n_fft, config.istft_hop), config.hop, len(self._fields) - 1
        rates = hop // config.istft_hop
        spectrum = stft(source, *fourier, end * hop, begin * hop).transpose(1, 2).contiguous()
        x, left, scale = self._layers.begin(mel, _inside(begin, end, self.size)), 0, 1
        for stage, field in enumerate(self._fields):
            x = self._layers.upsample(stage, x)
            scale *= config.upsample_rates[stage]
            start, stop = max(left, self.before - field), min(self.size, self.before + self.frames + field)
            x = x[:, (start - left) * scale : (stop - left) * scale]
            left, more = start, int(stage == last)
            x = _reflect(x, (begin - left) * scale) if more else x.contiguous()
            exists = _inside((begin - left) * scale, (end - left) * scale + more, x.shape[1])
            here = spectrum[:, start * rates : stop * rates + 1].contiguous()
            x = self._layers.stage(stage, x, here, exists)
        samples = istft(self._layers.end(x), *fourier, (end - left) * hop, (begin - left) * hop)
        first = (self.before - left) * hop
        samples = samples[:, first : first + self.frames * hop].clamp(-config.audio_limit, config.audio_limit)
        heard = _inside((begin - self.before) * hop, (end - self.before) * hop, samples.shape[1])
        return torch.where(heard, samples, 0.0)


def _inside(begin: Tensor, end: Tensor, size: int) -> Tensor:
    """(B, size) bool, True from `begin` to `end` (B,)."""
    return valid_positions(end, size) & ~valid_positions(begin, size)


def _reflect(x: Tensor, begin: Tensor) -> Tensor:
    """One position more in front of (B, T, C); what stands before `begin` (B,) then is the position after it, as at an edge."""
    x = torch.cat([x[:, 1:2], x], dim=1)
    at = begin.clamp(0, x.shape[1] - 3)[:, None, None].expand(-1, 1, x.shape[2])
    return x.scatter_(1, at, torch.where((begin > 0)[:, None, None], x.gather(1, at + 2), x.gather(1, at)))
