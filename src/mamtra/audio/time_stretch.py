"""Faster or slower speech at the same pitch: mel frames interpolated linearly in time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Stretcher:
    """Mel frames at another speed, while they are still arriving.

    Output frame j is at (j + 1/2) * speed - 1/2 of the input, so it does not depend on how the input is divided. `stretch` knows
    the whole and spreads its frames evenly over it, which differs by less than a frame.

    Args:
        speed: input frames for each output frame.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._tail: Any = None
        self._start = self._made = 0

    def push(self, mel: Any, final: bool = False) -> Any:
        """Take frames (..., mel, n) and return those (..., mel, m) that they determine; `final` returns the rest."""
        if self.speed == 1.0:
            return mel
        mel = mel if self._tail is None else self._join(self._tail, mel)
        total = self._start + mel.shape[-1]
        if final:
            count = max(self._made, stretched(total, self.speed))
        else:
            count = max(self._made, math.ceil((total - 0.5) / self.speed - 0.5))
        position = (np.arange(self._made, count) + 0.5) * self.speed - 0.5
        left, right, weight = _neighbours(position, total)
        made = self._between(mel, left - self._start, right - self._start, weight)
        keep = min(mel.shape[-1], max(0, math.floor((count + 0.5) * self.speed - 0.5) - self._start))
        self._tail, self._start, self._made = mel[..., keep:], self._start + keep, count
        return made

    @staticmethod
    def _join(first: Any, second: Any) -> Any:
        return np.concatenate([first, second], axis=-1)

    @staticmethod
    def _between(mel: Any, left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> Any:
        """Frames between those of two numbers; weights are float64, 0 where the left one is meant."""
        first = mel[..., left]
        return first + weight.astype(np.float32) * (mel[..., right] - first)


def stretch(mel: np.ndarray, speed: float) -> np.ndarray:
    """Map (mel, T) to (mel, int(T / speed)), one frame at least, spread evenly over the whole."""
    count = stretched(mel.shape[1], speed)
    if speed == 1.0 or not count:
        return mel
    position = (np.arange(count) + 0.5) * (mel.shape[1] / count) - 0.5
    return Stretcher._between(mel, *_neighbours(position, mel.shape[1]))


def stretched(count: int, speed: float) -> int:
    """Frames that `count` frames become."""
    return max(1, int(count / speed)) if count else 0


def _neighbours(position: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the frames on both sides of positions among `total` frames, and how far each position is from the left one."""
    position = np.clip(position, 0, max(0, total - 1))
    left = position.astype(np.int64)
    return left, np.minimum(left + 1, max(0, total - 1)), position - left
