"""What CosyVoice 2 takes from a prompt, from the definitions alone: float64, sample by sample and frame by frame."""

from __future__ import annotations

from math import ceil, floor, gcd, log

import numpy as np


def resample(wave: np.ndarray, source: int, target: int) -> np.ndarray:
    """A sinc of six zero crossings a side in a Hann window, cut off at 0.99 of the lower Nyquist frequency."""
    if source == target:
        return wave.astype(np.float64)
    source, target = source // gcd(source, target), target // gcd(source, target)
    cutoff = 0.99 * min(source, target)
    made = np.zeros(ceil(len(wave) * target / source))
    for n in range(len(made)):
        time = n / target
        first, last = ceil((time - 6 / cutoff) * source), floor((time + 6 / cutoff) * source)
        inside = np.arange(max(0, first), min(len(wave) - 1, last) + 1)
        zeros = (inside / source - time) * cutoff
        made[n] = np.sum(wave[inside] * np.sinc(zeros) * (0.5 + 0.5 * np.cos(np.pi * zeros / 6))) * cutoff / source
    return made


def stretch(mel: np.ndarray, speed: float) -> np.ndarray:
    """Frames (mel, T) to (mel, int(T / speed)), the middle of frame j at (j + 1/2) T / frames of the whole."""
    count = max(1, int(mel.shape[1] / speed))
    made = np.zeros((len(mel), count))
    for j in range(count):
        place = min(max((j + 0.5) * mel.shape[1] / count - 0.5, 0), mel.shape[1] - 1)
        left = int(place)
        right = min(left + 1, mel.shape[1] - 1)
        made[:, j] = (1 - (place - left)) * mel[:, left] + (place - left) * mel[:, right]
    return made


def mel_24k(wave: np.ndarray) -> np.ndarray:
    """Samples at 24 kHz to a natural log-mel (80, frames), 8 kHz at most."""
    power = _powers(np.pad(wave.astype(np.float64), 720, mode="reflect"), 1920, 480, _hann(1920, 1920))
    filters = _triangles(24000, 1920, 80, 0, 8000, _slaney, equal_area=True)
    return np.log(np.maximum(filters @ np.sqrt(power + 1e-9), 1e-5))


def whisper_log_mel_128(wave: np.ndarray) -> np.ndarray:
    """`whisper_log_mel` with 128 bins."""
    return whisper_log_mel(wave, 128)


def whisper_log_mel(wave: np.ndarray, mels: int) -> np.ndarray:
    """Samples at 16 kHz to Whisper's log-mel (mels, frames), the last frame left out."""
    power = _powers(np.pad(wave.astype(np.float64), 200, mode="reflect"), 400, 160, _hann(400, 400))[:, :-1]
    decades = np.log10(np.maximum(_triangles(16000, 400, mels, 0, 8000, _slaney, equal_area=True) @ power, 1e-10))
    return (np.maximum(decades, decades.max() - 8) + 4) / 4


def kaldi_fbank_80(wave: np.ndarray) -> np.ndarray:
    """Samples at 16 kHz to Kaldi's log filter bank (frames, 80), without dither."""
    rows = []
    window, filters = _hann(400, 399) ** 0.85, _triangles(16000, 512, 80, 20, 8000, _kaldi, equal_area=False)
    for start in range(0, len(wave) - 399, 160):
        frame = wave[start : start + 400].astype(np.float64)
        frame = frame - frame.mean()
        before = np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft((frame - 0.97 * before) * window, 512)) ** 2
        rows.append(np.log(np.maximum(filters[:, :-1] @ power[:-1], 2.0**-23)))
    return np.array(rows)


def _hann(size: int, period: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / period)


def _powers(wave: np.ndarray, size: int, hop: int, window: np.ndarray) -> np.ndarray:
    starts = range(0, len(wave) - size + 1, hop)
    return np.stack([np.abs(np.fft.rfft(wave[start : start + size] * window)) ** 2 for start in starts], axis=1)


def _slaney(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * log(hertz / 1000) / log(6.4)


def _kaldi(hertz: float) -> float:
    return 1127 * log(1 + hertz / 700)


def _triangles(rate: int, size: int, count: int, low: float, high: float, scale, equal_area: bool) -> np.ndarray:
    """Filters (count, size // 2 + 1): Slaney's are straight in hertz and of equal area, Kaldi's straight on its own scale."""
    bins = [k * rate / size for k in range(size // 2 + 1)]
    edges = np.linspace(scale(low), scale(high), count + 2)
    if equal_area:
        edges = np.array([_hertz(edge) for edge in edges])
    else:
        bins = [scale(hertz) for hertz in bins]
    filters = np.zeros((count, len(bins)))
    for row, (left, middle, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for column, place in enumerate(bins):
            height = (place - left) / (middle - left) if place <= middle else (right - place) / (right - middle)
            filters[row, column] = max(0, height) * (2 / (right - left) if equal_area else 1)
    return filters


def _hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)
