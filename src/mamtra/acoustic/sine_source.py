"""Harmonic-plus-noise excitation: sines at the multiples of F0, noise in unvoiced frames.

Neural source-filter excitation (Wang et al. 2019) in the form CosyVoice 2 runs it: phases are accumulated at frame rate
and interpolated linearly between frame centres.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def cycles_per_frame(f0: Tensor, harmonics: int, hop: int, rate: int) -> Tensor:
    """Cycles (B, harmonics, T) of each harmonic of F0 (B, T) in a frame, up to a whole multiple of `hop`."""
    multiple = torch.arange(1, harmonics + 1, device=f0.device, dtype=f0.dtype)[:, None]
    return (f0[:, None] * multiple / rate).remainder(1) * hop


def harmonic_sines(
    f0: Tensor, harmonics: int, hop: int, rate: int, phase: Tensor | None = None, begin: Tensor | None = None
) -> Tensor:
    """Sines at F0 and its multiples, with linearly interpolated phase.

    The phase is constant in the last half frame, and in the first one without `phase`. Whole cycles are dropped before the
    running sum, so float32 stays exact to 1e-4 of a cycle at any length.

    Args:
        f0: (B, T) Hz, float32.
        harmonics: number of multiples, the fundamental included.
        hop: samples for each frame.
        rate: sampling rate in Hz.
        phase: (B, harmonics, 1) in cycles at the centre of the previous frame, from `phase_after`; None at the beginning.
        begin: (B,) the frame that is the first of each row, if it is one of these; needs `phase`, which is 0 there, and an F0 of
            0 before it.

    Returns:
        (B, harmonics, hop*T) in [-1, 1].
    """
    cycles = cycles_per_frame(f0, harmonics, hop, rate)
    sums = cycles.remainder(1).cumsum(-1)
    if phase is None:
        start = torch.cat([sums[..., :1], sums], dim=-1).remainder(1)
        step = F.pad(cycles[..., 1:], (1, 1))
    else:
        start = torch.cat([phase, phase + sums], dim=-1).remainder(1)
        step = F.pad(cycles, (0, 1))
    if begin is not None:
        first = (torch.arange(step.shape[-1], device=f0.device) == begin[:, None])[:, None]
        start = torch.where(first, F.pad(start[..., 1:], (0, 1)), start)
        step = step.masked_fill(first, 0)
    weight = (torch.arange(hop, device=f0.device, dtype=f0.dtype) + 0.5) / hop
    angle = torch.addcmul(start[..., None], step[..., None], weight).flatten(-2)
    edge = hop // 2
    return torch.sin(angle[..., edge : edge + hop * f0.shape[1]] * (2 * math.pi))


def phase_after(f0: Tensor, harmonics: int, hop: int, rate: int, phase: Tensor | None = None) -> Tensor:
    """Phase (B, harmonics, 1) in cycles in [0, 1) at the centre of the last frame of F0 (B, T), continuing from `phase`."""
    total = cycles_per_frame(f0, harmonics, hop, rate).remainder(1).sum(-1, keepdim=True)
    return (total if phase is None else total + phase).remainder(1)


def held_sines(
    f0: Tensor, harmonics: int, hop: int, rate: int, phase: Tensor | None = None, begin: Tensor | None = None
) -> Tensor:
    """`harmonic_sines` as CosyVoice 3 runs them: each keeps the value that it has at the end of a frame for the whole frame."""
    total = cycles_per_frame(f0, harmonics, hop, rate).remainder(1).cumsum(-1)
    total = total if phase is None else total + phase
    return torch.sin(total.remainder(1) * (2 * math.pi)).repeat_interleave(hop, dim=-1)


class SineSource(nn.Module):
    """Mix of harmonics and noise into one excitation signal.

    Args:
        harmonics: overtones above the fundamental.
        hop: samples for each frame.
        rate: sampling rate in Hz.
        amplitude: of each sine; a third of it is the noise level of unvoiced frames.
        noise_level: standard deviation of the noise in voiced frames.
        voiced_threshold: F0 in Hz above which a frame counts as voiced.
    """

    sines = staticmethod(harmonic_sines)
    channels = 1

    def __init__(
        self, harmonics: int, hop: int, rate: int, amplitude: float, noise_level: float, voiced_threshold: float
    ) -> None:
        super().__init__()
        self.harmonics, self.hop, self.rate = harmonics + 1, hop, rate
        self.amplitude, self.noise_level, self.voiced_threshold = amplitude, noise_level, voiced_threshold
        self.l_linear = nn.Linear(self.harmonics, 1)

    def forward(
        self,
        f0: Tensor,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        phase: Tensor | None = None,
        begin: Tensor | None = None,
    ) -> Tensor:
        """Make the excitation; gradients reach the mixing weights, not `f0`.

        Args:
            f0: (B, T) Hz.
            noise: standard normal, (B, hop*T, harmonics), one for each sine as in the original, or (B, hop*T, 1), which has
                the same distribution after mixing at a ninth of the cost; None samples the latter.
            generator: source of randomness when `noise` is None, on the device of `f0`.
            phase: at the end of the previous block, see `harmonic_sines`.
            begin: see `harmonic_sines`.

        Returns:
            (B, 1, hop*T) float32 in (-1, 1).
        """
        with torch.autocast(f0.device.type, enabled=False):
            f0 = f0.detach().float()
            weight, bias = self.l_linear.weight.float(), self.l_linear.bias.float()
            if noise is None:
                noise = torch.randn(f0.shape[0], f0.shape[1] * self.hop, 1, device=f0.device, generator=generator)
            noise = noise.float()
            # A sum of independent normals is a normal of the summed variance.
            mixed_noise = noise @ weight.T if noise.shape[2] > 1 else noise * weight.norm()
            sines = self.sines(f0, self.harmonics, self.hop, self.rate, phase, begin) * self.amplitude
            voiced = (f0 > self.voiced_threshold).to(f0.dtype)
            level = voiced * self.noise_level + (1 - voiced) * (self.amplitude / 3)
            voiced, level = (value.repeat_interleave(self.hop, dim=1)[:, None] for value in (voiced, level))
            mix = torch.matmul(weight, sines) * voiced + mixed_noise.transpose(1, 2) * level + bias
            return torch.tanh(mix)

    def phase_after(self, f0: Tensor, phase: Tensor | None = None) -> Tensor:
        """Phase of the sines after F0 (B, T) in Hz, for the next block; see the function of this name."""
        return phase_after(f0.float(), self.harmonics, self.hop, self.rate, phase)
