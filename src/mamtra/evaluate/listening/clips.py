"""Sound for a listening test: brought to one loudness, spoilt on purpose where a test needs that, and put into a page."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from mamtra.audio.formats import MIME, encode
from mamtra.audio.io import read_audio, resample

RATE = 24000
LEVEL_DB = -26.0
PEAK = 0.97
ANCHOR_HZ = 3500.0
_FLOOR_DB = -45.0


def levelled(samples: np.ndarray) -> np.ndarray:
    """Samples (T,) whose root mean square outside silence is -26 dB of full scale, or less where peaks would clip.

    Silence are 10 ms frames that stay 45 dB under the loudest one, so that long pauses do not make a clip loud.
    """
    hop = RATE // 100
    power = np.square(samples[: len(samples) // hop * hop].astype(np.float64).reshape(-1, hop)).mean(1)
    if len(power) == 0 or power.max() <= 1e-10:
        return samples
    level = np.sqrt(power[power > power.max() * 10 ** (_FLOOR_DB / 10)].mean())
    gain = min(10 ** (LEVEL_DB / 20) / level, PEAK / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32)


def low_anchor(samples: np.ndarray) -> np.ndarray:
    """The same without all above 3.5 kHz: the low anchor of ITU-R BS.1534-3."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > ANCHOR_HZ] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def drowned(samples: np.ndarray, seed: int) -> np.ndarray:
    """The same under noise as loud as itself, without all above 3.5 kHz: nobody who listens takes it for good."""
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    mixed = low_anchor(samples + noise * np.sqrt(np.square(samples).mean()))
    return levelled(mixed)


def read_clip(path: Path, level: bool = True) -> np.ndarray:
    """Samples (T,) of a file at 24 kHz, brought to the common loudness where wanted.

    Raises:
        MamTraError: there is no such file, or it is no sound.
    """
    samples, rate = read_audio(path)
    found = resample(samples, rate, RATE)
    return levelled(found) if level else found


def inline(samples: np.ndarray, fmt: str) -> str:
    """Samples (T,) as a data URL."""
    return f"data:{MIME[fmt]};base64,{base64.b64encode(encode(samples, RATE, fmt)).decode()}"
