"""`mamtra.audio.time_stretch` with torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mamtra.audio import time_stretch
from mamtra.audio.time_stretch import stretched


class Stretcher(time_stretch.Stretcher):
    """`mamtra.audio.time_stretch.Stretcher` of tensors (B, mel, n)."""

    @staticmethod
    def _join(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second], dim=2)

    @staticmethod
    def _between(mel: Tensor, left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> Tensor:
        left, right, weight = (torch.from_numpy(part).to(mel.device) for part in (left, right, weight))
        return torch.lerp(mel[:, :, left], mel[:, :, right], weight.to(mel.dtype))


def stretch(mel: Tensor, speed: float) -> Tensor:
    """Map (B, mel, T) to (B, mel, int(T / speed)), one frame at least, as CosyVoice 2 does."""
    if speed == 1.0:
        return mel
    return nn.functional.interpolate(mel, size=stretched(mel.shape[2], speed), mode="linear")
