"""The vocoder's discriminators: multi-period on waveforms (HiFi-GAN) and multi-resolution on spectrograms (UnivNet)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from memory_layout import ChannelsLast
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Scored = tuple[Tensor, list[Tensor]]  # score map, feature maps


def conv(*args, **kwargs) -> nn.Module:
    return weight_norm(ChannelsLast(*args, **kwargs))


class PeriodDiscriminator(nn.Module):
    """Discriminator of the waveform folded into rows of `period` samples."""

    def __init__(self, period: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        sizes = (1, *widths)
        self.convs = nn.ModuleList(conv(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in pairwise(sizes))
        self.last = conv(widths[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, wave: Tensor) -> Scored:
        """wave (B, T)."""
        x = F.pad(wave, (0, -wave.shape[1] % self.period))
        x = x.view(x.shape[0], 1, -1, self.period)
        features = []
        for layer in self.convs:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.last(x), features


class SpectrumDiscriminator(nn.Module):
    """Discriminator of the magnitude spectrogram at one resolution."""

    def __init__(self, n_fft: int, width: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.convs = nn.ModuleList([
            conv(1, width, (3, 9), padding=(1, 4)),
            *[conv(width, width, (3, 9), stride=(1, 2), padding=(1, 4)) for _ in range(3)],
            conv(width, width, (3, 3), padding=(1, 1)),
        ])  # fmt: skip
        self.last = conv(width, 1, (3, 3), padding=(1, 1))

    def forward(self, wave: Tensor) -> Scored:
        """wave (B, T)."""
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.stft(wave.float(), self.n_fft, self.n_fft // 4, window=self.window, return_complex=True)
            x = (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt().transpose(1, 2)[:, None]
        features = []
        for layer in self.convs:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.last(x), features


class Discriminators(nn.Module):
    def __init__(
        self, periods=(2, 3, 5, 7, 11), widths=(32, 64, 128, 256), sizes=(2048, 1024, 512), width: int = 24
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            [PeriodDiscriminator(p, widths) for p in periods] + [SpectrumDiscriminator(n, width) for n in sizes]
        )

    def forward(self, wave: Tensor) -> list[Scored]:
        return [part(wave) for part in self.parts]


def discriminator_loss(real: list[Scored], fake: list[Scored]) -> Tensor:
    """Least-squares loss with target 1 for real and 0 for generated speech."""
    pairs = zip(real, fake, strict=True)
    return sum((1 - r.float()).square().mean() + f.float().square().mean() for (r, _), (f, _) in pairs) / len(real)


def adversarial_loss(fake: list[Scored]) -> Tensor:
    return sum((1 - score.float()).square().mean() for score, _ in fake) / len(fake)


def feature_loss(real: list[Scored], fake: list[Scored]) -> Tensor:
    """Mean absolute difference of the discriminators' features, relative to their magnitude."""
    total = count = 0
    for (_, have), (_, want) in zip(fake, real, strict=True):
        for a, b in zip(have, want, strict=True):
            b = b.detach().float()
            total, count = total + (a.float() - b).abs().mean() / (b.abs().mean() + 1e-4), count + 1
    return total / count
