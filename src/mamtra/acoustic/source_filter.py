"""A vocoder at frame rate: filters for pulses and noise, and a free part, for each frame of one inverse STFT.

    spectrum = exp(h + i p) STFT(pulses) + exp(n) STFT(noise) + exp(r + i q)

Harmonics and their pitch come from the pulses (`mamtra.acoustic.pulse_source`); the network gives smooth filters, and what is
neither pulse nor noise. All its layers, ConvNeXt blocks as in Vocos (Siuzdak 2023), run at two frames for each mel frame, so that
it takes a fraction of the time of HiFT, whose last layers run at a quarter of the sampling rate.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from torch import Tensor, nn

from mamtra.acoustic.convolution import Conv1d, ConvTranspose1d
from mamtra.acoustic.f0_predictor import F0Predictor
from mamtra.acoustic.masks import hide, inside
from mamtra.acoustic.pulse_source import PulseSource
from mamtra.acoustic.receptive_field import OVER, receptive_field
from mamtra.acoustic.stft import istft, stft
from mamtra.acoustic.vocoder import Vocoder
from mamtra.runtime.strict_models import Size

LARGEST_LOG = 4.0
"""Of a gain; limiting before exp keeps the gradient finite."""
QUIET = (-5.0, -6.0, -9.0)
"""Logarithms of the gains of pulses, noise and the free part before training."""


class SourceFilterConfig(BaseModel):
    """Sizes of the vocoder. The inverse STFT's frames are `hop / rate` samples apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["source_filter"] = "source_filter"
    in_channels: Size = 80
    sampling_rate: Size = 24000
    hop: Size = 480
    rate: Size = 2
    n_fft: Size = 720
    width: Size = 256
    hidden: Size = 768
    blocks: Size = 5
    kernel: Size = 7
    source_bins: Size = 24
    f0_channels: Size = 128
    voiced_threshold: PositiveFloat = 45.0
    highest_harmonic: PositiveFloat = 11500.0
    audio_limit: float = Field(0.99, gt=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> SourceFilterConfig:
        step = self.hop // self.rate
        if self.hop % self.rate or self.n_fft % step or self.n_fft < 3 * step or self.n_fft % 2:
            raise ValueError(
                "hop must be a multiple of rate, and n_fft an even multiple of hop / rate, 3 times it or more"
            )
        if self.source_bins > self.n_fft // 2 + 1:
            raise ValueError("source_bins exceeds the number of bins, n_fft / 2 + 1")
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        return self


class Block(nn.Module):
    """ConvNeXt: a convolution of each channel, then a feed-forward layer at each position."""

    def __init__(self, width: int, hidden: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.mix = Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, T) to the same shape."""
        y = self.norm(self.mix(x).transpose(1, 2))
        return x + (self.scale * self.down(F.gelu(self.up(y)))).transpose(1, 2)


class SourceFilter(Vocoder):
    """The vocoder."""

    config: SourceFilterConfig
    m_source: PulseSource

    def __init__(self, config: SourceFilterConfig) -> None:
        super().__init__(config)
        self.bins, self.step = config.n_fft // 2 + 1, config.hop // config.rate
        width, rate = config.width, config.rate
        self.m_source = PulseSource(config.hop, config.sampling_rate, config.highest_harmonic, config.voiced_threshold)
        # A position at each end of a mel frame: one more than rate * T.
        self.first = ConvTranspose1d(config.in_channels, width, rate + 1 + 2 * OVER, rate, padding=OVER)
        self.pulses = nn.Linear(2 * config.source_bins, width)
        self.first_norm = nn.LayerNorm(width, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(width, config.hidden, config.kernel, 1 / config.blocks) for _ in range(config.blocks)
        )
        self.last_norm = nn.LayerNorm(width, eps=1e-6)
        self.last = nn.Linear(width, 5 * self.bins)
        self.f0_predictor = self.f0()
        with torch.no_grad():
            self.last.weight.mul_(0.3)
            self.last.bias.zero_()
            for part, log in zip(self.last.bias.view(5, -1), QUIET, strict=False):
                part.fill_(log)

    def f0(self) -> F0Predictor:
        """The predictor of F0."""
        return F0Predictor(self.config.in_channels, self.config.f0_channels)

    def receptive_field(self) -> tuple[int, int]:
        """See `Vocoder.receptive_field`; 10 and 15 frames with the default sizes."""
        return receptive_field(self.config)

    def _decode(self, mel: Tensor, source: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return self.decode_inside(mel, source)
        return self.decode_inside(mel, source, torch.zeros_like(lengths), lengths)

    def decode_inside(
        self, mel: Tensor, source: Tensor, begin: Tensor | None = None, end: Tensor | None = None
    ) -> Tensor:
        """`decode` of utterances that begin and end within a batch.

        Args:
            mel: (B, in_channels, T).
            source: (B, 2, hop*T).
            begin: (B,) int64 first frame of each row; None with `end` when all are full.
            end: (B,) int64 frame at which it ends.

        Returns:
            (B, hop*T) float32 within +-audio_limit, zero outside of the rows.
        """
        config, mask, samples = self.config, None, (None, None)
        if begin is not None:
            mel = hide(mel, inside(begin, end, mel.shape[2])[:, None])
            mask = inside(begin * config.rate, end * config.rate + 1, mel.shape[2] * config.rate + 1)[:, None]
            samples = end * config.hop, begin * config.hop
        with torch.autocast(mel.device.type, enabled=False):
            pulses, noise = (stft(each.float(), config.n_fft, self.step, *samples) for each in source.unbind(1))
            # Phases relative to the centres of frames.
            turn = 1 - 2 * (torch.arange(self.bins, device=mel.device) % 2)
            low = pulses.unflatten(1, (2, -1))[:, :, : config.source_bins] * turn[: config.source_bins, None]
            low = low.flatten(1, 2).transpose(1, 2) * (4 / config.n_fft)
        x = self.first(mel) + self.pulses(low).transpose(1, 2)
        x = hide(self.first_norm(x.transpose(1, 2)).transpose(1, 2), mask)
        for block in self.blocks:
            x = hide(block(x), mask)
        x = self.last_norm(x.transpose(1, 2))
        with torch.autocast(mel.device.type, enabled=False):
            # A phase or a logarithm rounded to bfloat16 is noise at -40 dB.
            spectrum = self._spectrum(
                self.last(x.to(self.last.bias.dtype)).transpose(1, 2), pulses, noise, turn[:, None]
            )
            wave = istft(spectrum, config.n_fft, self.step, *samples).clamp(-config.audio_limit, config.audio_limit)
        if begin is None:
            return wave
        return wave * inside(samples[1], samples[0], wave.shape[1])

    def _spectrum(self, x: Tensor, pulses: Tensor, noise: Tensor, turn: Tensor) -> Tensor:
        """The spectrum (B, 2 bins, T) from the last layer (B, 5 bins, T), the spectra of the sources and signs (bins, 1)."""
        logs, phases = x.float().split([3 * self.bins, 2 * self.bins], dim=1)
        voiced, breath, free = logs.clamp(max=LARGEST_LOG).exp().chunk(3, dim=1)
        (phase, angle), (real, imaginary) = phases.chunk(2, dim=1), pulses.chunk(2, dim=1)
        cosine, sine, free = voiced * phase.cos(), voiced * phase.sin(), free * turn * (self.config.n_fft / 4)
        breath_real, breath_imaginary = (breath * part for part in noise.chunk(2, dim=1))
        return torch.cat(
            [
                cosine * real - sine * imaginary + breath_real + free * angle.cos(),
                sine * real + cosine * imaginary + breath_imaginary + free * angle.sin(),
            ],
            dim=1,
        )
