"""Pulses and noise as the excitation of the vocoder: `mamtra.acoustic.pulse_source` with numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_NEAR = np.float32(1e-3)
_PI = np.float32(np.pi)


class PulseSource:
    """Pulses and noise of F0 in frames.

    Args:
        config: section of the vocoder in config.json.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.hop = config["hop"]
        self._rate, self._highest = config["sampling_rate"], np.float32(config["highest_harmonic"])
        self._threshold = np.float32(config["voiced_threshold"])

    def __call__(self, f0: np.ndarray, noise: np.ndarray, phase: np.ndarray | None = None) -> np.ndarray:
        """The excitation (2, hop * T) float32 of F0 (T,) in Hz.

        Args:
            f0: see above.
            noise: (hop * T,) standard normal.
            phase: (2,) at the end of the block before, from `phase_after`.
        """
        hop = self.hop
        first, last, centres = self._intervals(f0, phase)
        start = np.append(centres - self._cycles(first, last), centres[-1:])[:, None]
        first, last = (np.append(each, last[-1:])[:, None] for each in (first, last))
        weight = (np.arange(hop, dtype=np.float32) + np.float32(0.5)) / np.float32(hop)
        edge = slice(hop // 2, hop // 2 + hop * len(f0))
        rise = last - first
        cycles = (start + (first + rise * (weight / 2)) * weight * np.float32(hop / self._rate)).reshape(-1)[edge]
        frequency = (first + rise * weight).reshape(-1)[edge]
        # Only samples of voiced frames have a pulse.
        heard = np.repeat(f0 > self._threshold, hop)
        cycles, frequency = cycles[heard] % 1, frequency[heard]
        most = self._highest / np.maximum(frequency, self._threshold)
        count, half = np.floor(most), np.sin(cycles * _PI)
        near = np.abs(half) < _NEAR
        half[near] = 1
        sums = np.sin((count + np.float32(0.5)) * cycles % 1 * (2 * _PI)) / (2 * half) - np.float32(0.5)
        following = np.cos((count + 1) * cycles % 1 * (2 * _PI))
        made = np.zeros((2, hop * len(f0)), np.float32)
        made[0, heard] = np.where(near, count, sums) + (most - count) * following
        made[1] = noise
        return made

    def phase_after(self, f0: np.ndarray, phase: np.ndarray | None = None) -> np.ndarray:
        """Phase at the centre of the last frame of F0 (T,), and that F0, (2,), continuing from `phase`."""
        centres = self._intervals(f0, phase)[2]
        return np.array([centres[-1] % 1, f0[-1] * (f0[-1] > self._threshold)], np.float32)

    def _intervals(self, f0: np.ndarray, phase: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        f0 = f0 * (f0 > self._threshold)
        before = np.append(np.zeros(1, np.float32) if phase is None else phase[1:], f0[:-1])
        first, last = np.where(before > 0, before, f0), np.where(f0 > 0, f0, before)
        centres = np.cumsum(self._cycles(first, last) % 1, dtype=np.float32)
        return first, last, centres if phase is None else centres + phase[0]

    def _cycles(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        return (first + last) * np.float32(self.hop / (2 * self._rate))
