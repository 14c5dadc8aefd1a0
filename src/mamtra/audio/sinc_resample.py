"""Windowed-sinc resampling with the filter that CosyVoice 2 prepares its prompts with (torchaudio's default)."""

from __future__ import annotations

from math import ceil, gcd

import numpy as np

ZEROS = 6
"""Zero crossings of the sinc on each side."""
ROLLOFF = 0.99
"""Cut-off, as a fraction of the lower of the two Nyquist frequencies."""


def sinc_resample(samples: np.ndarray, source: int, target: int) -> np.ndarray:
    """Resample with a Hann-windowed sinc.

    Args:
        samples: float32 (T,).
        source: their rate in Hz.
        target: the rate wanted.

    Returns:
        float32 (ceil(T * target / source),).
    """
    if source == target or not len(samples):
        return samples
    common = gcd(source, target)
    source, target = source // common, target // common
    cutoff = min(source, target) * ROLLOFF
    width = ceil(ZEROS * source / cutoff)
    # One filter for each of the `target` outputs that fall into `source` inputs.
    time = (np.arange(-width, width + source) / source - np.arange(target)[:, None] / target) * cutoff
    time = time.clip(-ZEROS, ZEROS)
    filters = np.sinc(time) * np.cos(time * np.pi / ZEROS / 2) ** 2 * cutoff / source
    padded = np.pad(samples.astype(np.float32, copy=False), (width, width + source))
    windows = np.lib.stride_tricks.sliding_window_view(padded, filters.shape[1])[::source]
    made = windows @ filters.T.astype(np.float32)
    return np.ascontiguousarray(made.reshape(-1)[: ceil(len(samples) * target / source)], dtype=np.float32)
