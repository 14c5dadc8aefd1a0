"""Faster or slower speech at the same pitch: mel frames interpolated linearly in time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Stretcher:
    """Mel frames at another speed, while they are still arriving.

    Output frame j is at (j + 1/2) * speed - 1/2 of the input, so it does not depend on how the input is divided. `stretch` knows
    the whole and spreads its frames evenly over it, which differs by less than a frame.

    Args:
        speed: input frames for each output frame.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._tail: Tensor | None = None
        self._start = self._made = 0

    def push(self, mel: Tensor, final: bool = False) -> Tensor:
        """Take frames (B, mel, n) and return those (B, mel, m) that they determine; `final` returns the rest."""
        if self.speed == 1.0:
            return mel
        mel = mel if self._tail is None else torch.cat([self._tail, mel], dim=2)
        total = self._start + mel.shape[2]
        if final:
            count = max(self._made, _frames(total, self.speed))
        else:
            count = max(self._made, math.ceil((total - 0.5) / self.speed - 0.5))
        position = (torch.arange(self._made, count, device=mel.device, dtype=torch.float64) + 0.5) * self.speed - 0.5
        position = position.clamp(0, max(0, total - 1))
        left = position.long()
        weight = (position - left).to(mel.dtype)
        right = (left + 1).clamp(max=max(0, total - 1))
        made = torch.lerp(mel[:, :, left - self._start], mel[:, :, right - self._start], weight)
        keep = min(mel.shape[2], max(0, math.floor((count + 0.5) * self.speed - 0.5) - self._start))
        self._tail, self._start, self._made = mel[:, :, keep:], self._start + keep, count
        return made


def stretch(mel: Tensor, speed: float) -> Tensor:
    """Map (B, mel, T) to (B, mel, int(T / speed)), one frame at least, as CosyVoice 2 does."""
    if speed == 1.0:
        return mel
    return nn.functional.interpolate(mel, size=_frames(mel.shape[2], speed), mode="linear")


def _frames(count: int, speed: float) -> int:
    return max(1, int(count / speed)) if count else 0
