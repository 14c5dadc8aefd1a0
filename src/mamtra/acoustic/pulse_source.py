"""Excitation in two channels: pulses at F0, with all harmonics equally loud, and white noise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEAR = 1e-3
"""Sine of half the phase below which a pulse has its peak."""


class PulseSource(nn.Module):
    """Pulses and noise of F0 in frames. F0 changes linearly between the centres of voiced frames.

    Args:
        hop: samples for each frame.
        rate: sampling rate in Hz.
        highest: frequency in Hz that no harmonic exceeds.
        voiced_threshold: F0 in Hz above which a frame counts as voiced.
    """

    channels = 2
    harmonics = 2
    """Numbers that a stream keeps: the phase at the centre of the last frame in cycles, and its F0, 0 where unvoiced."""

    def __init__(self, hop: int, rate: int, highest: float, voiced_threshold: float) -> None:
        super().__init__()
        self.hop, self.rate, self.highest, self.voiced_threshold = hop, rate, highest, voiced_threshold

    def forward(
        self,
        f0: Tensor,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        phase: Tensor | None = None,
        begin: Tensor | None = None,
    ) -> Tensor:
        """Make the excitation; no gradient reaches `f0`.

        Args:
            f0: (B, T) Hz.
            noise: standard normal (B, hop*T, 1); None samples it.
            generator: source of randomness when `noise` is None, on the device of `f0`.
            phase: (B, 2, 1) at the end of the previous block, from `phase_after`.
            begin: not needed: frames before a row's first have an F0 of 0.

        Returns:
            (B, 2, hop*T) float32: pulses, zero where unvoiced, and noise.
        """
        with torch.autocast(f0.device.type, enabled=False), torch.no_grad():
            f0, hop = f0.float(), self.hop
            if noise is None:
                noise = torch.randn(f0.shape[0], f0.shape[1] * hop, 1, device=f0.device, generator=generator)
            voiced = f0 > self.voiced_threshold
            first, last, centres = self._intervals(f0, phase)
            weight = (torch.arange(hop, device=f0.device, dtype=f0.dtype) + 0.5) / hop
            start = F.pad(centres, (0, 1)) - F.pad(self._cycles(first, last), (0, 1))
            start[:, -1] = centres[:, -1]
            first, last = (torch.cat([each, last[:, -1:]], dim=1)[..., None] for each in (first, last))
            frequency = first + (last - first) * weight
            cycles = start[..., None] + (first + (last - first) * (weight / 2)) * weight * (hop / self.rate)
            edge = slice(hop // 2, hop // 2 + hop * f0.shape[1])
            cycles, frequency = cycles.flatten(1)[:, edge].remainder(1), frequency.flatten(1)[:, edge]
            most = self.highest / frequency.clamp(min=self.voiced_threshold)
            count = most.floor()
            half, turn = torch.sin(cycles * math.pi), 2 * math.pi
            # The sum of the cosines of the first `count` multiples; the next one comes and goes by degrees as F0 glides.
            near = half.abs() < NEAR
            pulse = torch.sin(((count + 0.5) * cycles).remainder(1) * turn) / (2 * half.masked_fill(near, 1.0)) - 0.5
            following = torch.cos(((count + 1) * cycles).remainder(1) * turn)
            pulse = torch.where(near, count, pulse) + (most - count) * following
            pulse = pulse * voiced.repeat_interleave(hop, dim=1)
            return torch.stack([pulse, noise.float()[:, :, 0]], dim=1)

    def phase_after(self, f0: Tensor, phase: Tensor | None = None) -> Tensor:
        """What `forward` wants to know (B, 2, 1) of the blocks up to this F0 (B, T), which continues from `phase`."""
        centres = self._intervals(f0.float(), phase)[2]
        voiced = f0[:, -1] > self.voiced_threshold
        return torch.stack([centres[:, -1].remainder(1), f0[:, -1] * voiced], dim=1)[..., None]

    def _intervals(self, f0: Tensor, phase: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Of each frame (B, T): F0 at the centre of the frame before and at its own, and the phase there in cycles.

        An unvoiced centre takes the F0 of a voiced one beside it.
        """
        f0 = f0 * (f0 > self.voiced_threshold)
        before = F.pad(f0[:, :-1], (1, 0)) if phase is None else torch.cat([phase[:, 1], f0[:, :-1]], dim=1)
        first, last = torch.where(before > 0, before, f0), torch.where(f0 > 0, f0, before)
        cycles = self._cycles(first, last).remainder(1).cumsum(1)
        return first, last, cycles if phase is None else cycles + phase[:, 0]

    def _cycles(self, first: Tensor, last: Tensor) -> Tensor:
        return (first + last) * (self.hop / (2 * self.rate))
