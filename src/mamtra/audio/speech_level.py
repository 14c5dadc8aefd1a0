"""Level, pauses, background and bandwidth of recorded speech."""

from __future__ import annotations

import numpy as np

TARGET_DB = -25.0
"""dBFS, the median of the embedded model's training speech."""
PAUSE_SECONDS = 0.3
_BELOW_DB = 45.0
_LOW, _HIGH = (300.0, 3500.0), (4600.0, 7400.0)
_TINY = 1e-12


def frame_power(wave: np.ndarray, rate: int, seconds: float = 0.01) -> np.ndarray:
    """Mean square of each frame of samples (T,), float64; a rest shorter than a frame is left out."""
    hop = max(1, round(rate * seconds))
    return np.square(wave[: len(wave) // hop * hop].reshape(-1, hop).astype(np.float64)).mean(axis=1)


def speech_level(wave: np.ndarray, rate: int) -> float:
    """Level in dBFS of the frames of 10 ms that are at most 45 dB below the loudest."""
    power = frame_power(wave, rate)
    return float(10 * np.log10(power[power >= power.max() * 10 ** (-_BELOW_DB / 10)].mean() + _TINY))


def normalise_level(wave: np.ndarray, rate: int, target: float = TARGET_DB) -> np.ndarray:
    """Samples (T,) float32 with a `speech_level` of `target` dBFS; peaks may pass 1."""
    return (wave * 10 ** ((target - speech_level(wave, rate)) / 20)).astype(np.float32)


def pauses(wave: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """First sample and end of each stretch of quiet frames of 10 ms.

    Quiet is 45 dB below the loudest frame, or within 6 dB of the background where that is louder, but never above -30 dB.
    """
    power = frame_power(wave, rate)
    if not len(power):
        return []
    background = np.clip(4 * np.quantile(power, 0.1), power.max() * 10 ** (-_BELOW_DB / 10), power.max() * 1e-3)
    quiet = np.concatenate([[False], power < background, [False]])
    edges = np.flatnonzero(quiet[1:] != quiet[:-1]) * max(1, round(rate * 0.01))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def shorten_pauses(wave: np.ndarray, rate: int, longest: float = PAUSE_SECONDS) -> np.ndarray:
    """Samples (T,) without the middle of the `pauses` that last more than `longest` seconds."""
    kept, at, half = [], 0, round(longest * rate / 2)
    for start, end in pauses(wave, rate):
        if end - start > 2 * half:
            kept.append(wave[at : start + half])
            at = end - half
    return np.concatenate([*kept, wave[at:]])


def background_db(wave: np.ndarray, rate: int) -> float:
    """How far the constant background is below the speech, in dB; underestimated where speech never pauses in a band.

    The background of each frequency is told by the power that nine of ten frames of 25 ms exceed, which for Gaussian noise is
    -ln 0.9 of its mean.
    """
    power = _spectra(wave, rate)
    background = np.quantile(power, 0.1, axis=0) / -np.log(0.9)
    return float(10 * np.log10((power.mean(axis=0).sum() + _TINY) / (background.sum() + _TINY)))


def high_band_db(wave: np.ndarray, rate: int) -> float:
    """Level of 4.6 to 7.4 kHz against 0.3 to 3.5 kHz in dB, each by its loudest frames, so that fricatives decide.

    Args:
        wave: samples (T,).
        rate: 15 kHz or more.
    """
    power = _spectra(wave, rate)
    hertz = np.fft.rfftfreq(2 * (power.shape[1] - 1), 1 / rate)
    low, high = (np.quantile(power[:, (hertz >= a) & (hertz <= b)].sum(axis=1), 0.95) for a, b in (_LOW, _HIGH))
    return float(10 * np.log10((high + _TINY) / (low + _TINY)))


def _spectra(wave: np.ndarray, rate: int) -> np.ndarray:
    """Power (frames, bins) of frames of 25 ms with a Hann window, half overlapping."""
    size = 2 * round(rate * 0.0125)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, (0, max(0, size - len(wave)))), size)[:: size // 2]
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)))
