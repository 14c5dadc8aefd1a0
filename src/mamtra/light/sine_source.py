"""Harmonics and noise as the excitation of the vocoder: `mamtra.acoustic.sine_source` with numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


class SineSource:
    """Mix of harmonics and noise into one excitation signal.

    Args:
        config: section of the vocoder in config.json.
        weight: (1, harmonics) of the mix.
        bias: (1,) of the mix.
    """

    def __init__(self, config: Mapping[str, Any], weight: np.ndarray, bias: np.ndarray) -> None:
        self.hop = math.prod(config["upsample_rates"]) * config["istft_hop"]
        self._rate = np.float32(config["sampling_rate"])
        self._amplitude, self._level = np.float32(config["nsf_alpha"]), np.float32(config["nsf_sigma"])
        self._threshold = config["nsf_voiced_threshold"]
        self._weight, self._bias = weight[0], bias[0]
        self._multiples = np.arange(1, len(self._weight) + 1, dtype=np.float32)[:, None]

    def __call__(self, f0: np.ndarray, noise: np.ndarray, phase: np.ndarray | None = None) -> np.ndarray:
        """The excitation (hop * T,) float32 of F0 (T,) in Hz.

        Args:
            f0: see above.
            noise: (hop * T,) standard normal.
            phase: (harmonics, 1) at the end of the block before, from `phase_after`.
        """
        hop = self.hop
        cycles = self._cycles(f0)
        sums = np.cumsum(cycles % 1, axis=1, dtype=np.float32)
        if phase is None:
            start = np.concatenate([sums[:, :1], sums], axis=1) % 1
            step = np.pad(cycles[:, 1:], ((0, 0), (1, 1)))
        else:
            start = np.concatenate([phase, phase + sums], axis=1) % 1
            step = np.pad(cycles, ((0, 0), (0, 1)))
        weight = (np.arange(hop, dtype=np.float32) + np.float32(0.5)) / np.float32(hop)
        harmonics = np.zeros((len(f0) + 1) * hop, np.float32)
        for first, rise, scale in zip(start, step, self._weight * self._amplitude, strict=True):
            angle = (first[:, None] + rise[:, None] * weight).reshape(-1)
            harmonics += scale * np.sin(angle * np.float32(2 * np.pi))
        edge = hop // 2
        harmonics = harmonics[edge : edge + hop * len(f0)]
        voiced = (f0 > self._threshold).astype(np.float32)
        level = voiced * self._level + (1 - voiced) * (self._amplitude / np.float32(3))
        voiced, level = np.repeat(voiced, hop), np.repeat(level, hop)
        return np.tanh(harmonics * voiced + noise * np.linalg.norm(self._weight) * level + self._bias)

    def phase_after(self, f0: np.ndarray, phase: np.ndarray | None = None) -> np.ndarray:
        """Phase (harmonics, 1) in cycles at the centre of the last frame of F0 (T,), continuing from `phase`."""
        total = (self._cycles(f0) % 1).sum(axis=1, keepdims=True)
        return (total if phase is None else total + phase) % 1

    def _cycles(self, f0: np.ndarray) -> np.ndarray:
        return (f0 * self._multiples / self._rate) % 1 * np.float32(self.hop)
