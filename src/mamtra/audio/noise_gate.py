"""The background of a log filter bank brought near that of training speech, for an encoder that heard no other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = -8.5
"""Natural logarithm of the power that remains of noise; the background of clean training speech lies below it."""
QUIETEST = -14.0
"""Digital silence, as noise suppression and 8 bits leave it, is raised to here; 2^-23, the feature's own floor, is -15.9."""
QUANTILE, BIAS, EXCESS = 0.1, 0.5, 2.0
"""Noise is what nine of ten frames exceed, plus a bias of its logarithm; the gain takes it out so many times."""
_FRAMES, _BANDS = 3, 3


def gate_noise(fbank: Tensor) -> Tensor:
    """Spectral subtraction with a floor, gains smoothed over 7 frames and 7 bands (Boll 1979, smoothed against musical noise).

    Bands whose noise lies below the floor are only kept above `QUIETEST`, so clean speech changes little.

    Args:
        fbank: (frames, bands) natural logarithms of power, of speech at the level of `speech_level.TARGET_DB`.

    Returns:
        (frames, bands).
    """
    noise = fbank.quantile(QUANTILE, dim=0) + BIAS
    noise = _smooth(noise[None], 0, 2)[0]
    excess = 1 - torch.exp(FLOOR - noise)  # fraction of the noise that is to go
    gain = 1 - EXCESS * excess * noise.exp() / _smooth(fbank.exp(), _FRAMES, _BANDS)
    gain = torch.maximum(gain, torch.exp(FLOOR - noise)).log().clamp(max=0)
    return torch.where(noise > FLOOR, fbank + gain, fbank).clamp(min=QUIETEST)


def _smooth(values: Tensor, rows: int, columns: int) -> Tensor:
    """Means over 2 `rows` + 1 by 2 `columns` + 1 neighbours of (R, C), edges repeated."""
    padded = F.pad(values[None, None], (columns, columns, rows, rows), mode="replicate")
    return F.avg_pool2d(padded, (2 * rows + 1, 2 * columns + 1), 1)[0, 0]
