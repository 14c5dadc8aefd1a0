"""Faster or slower speech at the same pitch: `mamtra.acoustic.time_stretch` with numpy."""

from __future__ import annotations

import math

import numpy as np


class Stretcher:
    """Mel frames at another speed, while they are still arriving.

    Args:
        speed: input frames for each output frame.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._tail: np.ndarray | None = None
        self._start = self._made = 0

    def push(self, mel: np.ndarray, final: bool = False) -> np.ndarray:
        """Take frames (mel, n) and return those (mel, m) that they determine; `final` returns the rest."""
        if self.speed == 1.0:
            return mel
        mel = mel if self._tail is None else np.concatenate([self._tail, mel], axis=1)
        total = self._start + mel.shape[1]
        if final:
            count = max(self._made, _frames(total, self.speed))
        else:
            count = max(self._made, math.ceil((total - 0.5) / self.speed - 0.5))
        position = np.clip((np.arange(self._made, count) + 0.5) * self.speed - 0.5, 0, max(0, total - 1))
        made = _at(mel, position, self._start, total)
        keep = min(mel.shape[1], max(0, math.floor((count + 0.5) * self.speed - 0.5) - self._start))
        self._tail, self._start, self._made = mel[:, keep:], self._start + keep, count
        return made


def stretch(mel: np.ndarray, speed: float) -> np.ndarray:
    """Map (mel, T) to (mel, int(T / speed)), one frame at least, spread evenly over the whole."""
    count = _frames(mel.shape[1], speed)
    if speed == 1.0 or not count:
        return mel
    position = (np.arange(count) + 0.5) * (mel.shape[1] / count) - 0.5
    return _at(mel, np.clip(position, 0, mel.shape[1] - 1), 0, mel.shape[1])


def _frames(count: int, speed: float) -> int:
    return max(1, int(count / speed)) if count else 0


def _at(mel: np.ndarray, position: np.ndarray, start: int, total: int) -> np.ndarray:
    """Frames between those of mel, of which the first is number `start` of `total`."""
    left = position.astype(np.int64)
    weight = (position - left).astype(np.float32)
    right = np.minimum(left + 1, max(0, total - 1))
    first = mel[:, left - start]
    return first + weight * (mel[:, right - start] - first)
