"""The background of a log filter bank brought near that of training speech, for an encoder that heard no other."""

from __future__ import annotations

import numpy as np

FLOOR = -8.5
"""Natural logarithm of the power that remains of noise; the background of clean training speech lies below it."""
QUIETEST = -14.0
"""Digital silence, as noise suppression and 8 bits leave it, is raised to here; 2^-23, the feature's own floor, is -15.9."""
QUANTILE, BIAS, EXCESS = 0.1, 0.5, 2.0
"""Noise is what nine of ten frames exceed, plus a bias of its logarithm; the gain takes it out so many times."""
_FRAMES, _BANDS = 3, 3


def gate_noise(fbank: np.ndarray) -> np.ndarray:
    """Spectral subtraction with a floor, gains smoothed over 7 frames and 7 bands (Boll 1979, smoothed against musical noise).

    Bands whose noise lies below the floor are only kept above `QUIETEST`, so clean speech changes little.

    Args:
        fbank: (frames, bands) float32, natural logarithms of power, of speech at the level of `speech_level.TARGET_DB`.

    Returns:
        (frames, bands) float32.
    """
    noise = np.quantile(fbank, QUANTILE, axis=0).astype(np.float32) + np.float32(BIAS)
    noise = _smooth(noise[None], 0, 2)[0]
    excess = 1 - np.exp(FLOOR - noise)  # fraction of the noise that is to go
    gain = 1 - EXCESS * excess * np.exp(noise) / _smooth(np.exp(fbank), _FRAMES, _BANDS)
    gain = np.log(np.maximum(gain, np.exp(FLOOR - noise))).clip(max=0)
    return np.where(noise > FLOOR, fbank + gain, fbank).clip(min=QUIETEST)


def _smooth(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over 2 `rows` + 1 by 2 `columns` + 1 neighbours of (R, C), edges repeated."""
    padded = np.pad(values, ((rows, rows), (columns, columns)), mode="edge")
    shape = (2 * rows + 1, 2 * columns + 1)
    return np.lib.stride_tricks.sliding_window_view(padded, shape).mean(axis=(2, 3), dtype=np.float32)
