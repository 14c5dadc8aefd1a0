"""Sound of a listening test: loudness-normalised clips, degraded anchors, clips as data URLs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mamtra.audio.formats import MIME, encode
from mamtra.audio.io import read_audio, resample
from mamtra.audio.trim import frame_power, is_loud
from mamtra.evaluate.report_media import data_url

RATE = 24000
LEVEL_DB = -26.0
PEAK = 0.97
ANCHOR_HZ = 3500.0


def loudness_normalised(samples: np.ndarray) -> np.ndarray:
    """Samples (T,) whose root mean square outside silence is -26 dB of full scale, or less where peaks would clip.

    Silence is every 10 ms frame that is 45 dB below the loudest one, so that long pauses do not make a clip loud.
    """
    power = frame_power(samples, RATE)
    loud = power[is_loud(power)]
    if not len(loud):
        return samples
    level = np.sqrt(loud.mean())
    gain = min(10 ** (LEVEL_DB / 20) / level, PEAK / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32)


def low_anchor(samples: np.ndarray) -> np.ndarray:
    """The same, low-passed at 3.5 kHz: the low anchor of ITU-R BS.1534-3."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > ANCHOR_HZ] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def noise_anchor(samples: np.ndarray, seed: int) -> np.ndarray:
    """The same with noise at 0 dB SNR, low-passed at 3.5 kHz: nobody who listens rates it high."""
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    mixed = low_anchor(samples + noise * np.sqrt(np.square(samples).mean()))
    return loudness_normalised(mixed)


def read_clip(path: Path, normalise: bool = True) -> np.ndarray:
    """Samples (T,) of a file at 24 kHz, loudness-normalised where wanted.

    Raises:
        MamTraError: there is no such file, or it is no sound.
    """
    samples, rate = read_audio(path)
    found = resample(samples, rate, RATE)
    return loudness_normalised(found) if normalise else found


def inline(samples: np.ndarray, fmt: str) -> str:
    """Samples (T,) as a data URL."""
    return data_url(MIME[fmt], encode(samples, RATE, fmt))
