"""Triangular filters on the two mel scales, for the spectral features of both runtimes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


def _slaney_mel(hz: float) -> float:
    """Slaney's mel scale: linear to 1 kHz, logarithmic above."""
    return hz * (3 / 200) if hz < 1000 else 15 + math.log(hz / 1000) * (27 / math.log(6.4))


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `_slaney_mel`."""
    return np.where(mel < 15, mel * (200 / 3), 1000 * np.exp((np.maximum(mel, 15) - 15) * (math.log(6.4) / 27)))


def _triangles(edges: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Filters (mels, bins) of height 1 that rise from edge i to edge i + 1 and fall to edge i + 2."""
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0)


@lru_cache(maxsize=16)
def slaney_filters(rate: int, n_fft: int, mels: int, high: float) -> np.ndarray:
    """Triangular filters of equal area on Slaney's mel scale from 0 Hz, librosa's definition.

    Args:
        rate: sampling rate in Hz.
        n_fft: FFT size.
        mels: number of filters.
        high: upper edge of the last filter in Hz.

    Returns:
        (mels, n_fft // 2 + 1) float32.
    """
    edges = _slaney_hz(np.linspace(0, _slaney_mel(high), mels + 2))
    area = 2 / (edges[2:, None] - edges[:-2, None])
    return (_triangles(edges, np.arange(n_fft // 2 + 1) * (rate / n_fft)) * area).astype(np.float32)


@lru_cache(maxsize=16)
def kaldi_filters(rate: int, n_fft: int, mels: int, low: float, high: float) -> np.ndarray:
    """Kaldi's filters: triangles on the scale 1127 ln(1 + f/700), without area normalisation.

    Args:
        rate: sampling rate in Hz.
        n_fft: FFT size.
        mels: number of filters.
        low: lower edge of the first filter in Hz.
        high: upper edge of the last filter in Hz.

    Returns:
        (mels, n_fft // 2 + 1) float32; the last column is zero.
    """
    first, last = (1127 * math.log1p(hz / 700) for hz in (low, high))
    bins = 1127 * np.log1p(np.arange(n_fft // 2 + 1) * (rate / n_fft) / 700)
    filters = _triangles(np.linspace(first, last, mels + 2), bins)
    filters[:, -1] = 0
    return filters.astype(np.float32)
