"""Perturbation of a log-mel that leaves the words: another speaker's size, another room, noise, a narrower band."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIZE = 0.22
"""Greatest change of all frequencies, natural logarithm: pitch and formants by up to 25%."""


def perturb(log_mel: Tensor, strength: float) -> Tensor:
    """Perturb each utterance in its own way, as sound would be, in the power domain.

    Args:
        log_mel: (B, mels, T), as `mamtra.audio.features.whisper_log_mel` gives it.
        strength: in [0, 1].

    Returns:
        (B, mels, T) in the same scale.
    """
    batch, mels, frames = log_mel.shape
    device = log_mel.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, device=device)

    def sometimes(chance: float) -> Tensor:
        return torch.rand(batch, 1, 1, device=device) < chance * strength

    power = 10 ** (4 * log_mel - 4)
    power = scale_frequencies(power, (SIZE * strength * uniform(-1, 1)).exp()[:, 0])
    # a room: an exponential tail after the direct sound
    decay = uniform(4, 18)
    after = torch.arange(frames, device=device)
    after = after[None] - after[:, None]  # frames from the direct sound (row) to the heard one (column)
    tail = torch.where(after > 0, torch.exp(-after / decay) / decay, 0.0)
    power = power + sometimes(0.5) * uniform(0.0, 0.6) * (power @ tail)
    # noise of some colour, with the fluctuation of a band's power
    level = power.mean((1, 2), keepdim=True) * 10 ** (-uniform(1.0, 5.0))
    colour = 10 ** (uniform(-1.0, 1.0) * torch.linspace(1, -1, mels, device=device)[:, None])
    power = power + sometimes(0.7) * level * colour * -torch.rand_like(power).clamp(min=1e-6).log()
    # a narrower band
    kept = torch.arange(mels, device=device)[:, None] < mels * uniform(0.72, 1.0)
    power = torch.where(sometimes(0.3) & ~kept, power * 1e-4, power)
    found = power.clamp(min=1e-10).log10()
    return (torch.maximum(found, found.amax((1, 2), keepdim=True) - 8) + 4) / 4


def scale_frequencies(power: Tensor, factor: Tensor) -> Tensor:
    """Spectra (B, mels, T) with all frequencies multiplied by factor (B, 1)."""
    mels = power.shape[1]
    place = (bins_of(centres(mels, power.device) / factor, mels)).clamp(0, mels - 1)
    below = place.floor().long().clamp(max=mels - 2)
    blend = (place - below)[..., None]
    take = below[..., None].expand(-1, -1, power.shape[2])
    return power.gather(1, take) * (1 - blend) + power.gather(1, take + 1) * blend


def centres(mels: int, device: torch.device) -> Tensor:
    """Hz of the bins (mels,) of the Slaney scale up to 8 kHz: linear to 1 kHz, then logarithmic."""
    top = 15 + 27 * math.log(8) / math.log(6.4)
    steps = torch.arange(1, mels + 1, device=device) * top / (mels + 1)
    return torch.where(steps < 15, steps * 200 / 3, 1000 * torch.exp((steps - 15) * math.log(6.4) / 27))


def bins_of(hertz: Tensor, mels: int) -> Tensor:
    """The inverse of `centres`: fractional bins of frequencies (...)."""
    top = 15 + 27 * math.log(8) / math.log(6.4)
    steps = torch.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * (hertz.clamp(min=1000) / 1000).log() / math.log(6.4))
    return steps * (mels + 1) / top - 1
