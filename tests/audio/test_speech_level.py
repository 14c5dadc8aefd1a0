"""Level, pauses, background and bandwidth of speech-like sounds."""

from __future__ import annotations

import numpy as np
import pytest

from mamtra.audio.io import resample
from mamtra.audio.speech_level import background_db, high_band_db, normalise_level, pauses, shorten_pauses, speech_level

RATE = 16000


def bursts(seconds: float = 6.0, rate: int = RATE) -> np.ndarray:
    """Noise of the full band that comes and goes four times a second, silent between."""
    time = np.arange(round(seconds * rate)) / rate
    sound = np.random.default_rng(0).normal(0, 0.1, len(time))
    return (sound * np.clip(np.sin(2 * np.pi * 2 * time), 0, 1)).astype(np.float32)


def test_the_level_is_of_the_speech_not_of_its_pauses():
    wave = bursts()
    longer = np.concatenate([wave, np.zeros(20 * RATE, np.float32)])
    assert speech_level(longer, RATE) == pytest.approx(speech_level(wave, RATE))
    assert speech_level(0.1 * wave, RATE) == pytest.approx(speech_level(wave, RATE) - 20, abs=1e-3)
    for gain in (0.02, 1.0, 5.0):
        assert speech_level(normalise_level(gain * wave, RATE, -25), RATE) == pytest.approx(-25, abs=1e-3)
        assert np.allclose(normalise_level(gain * wave, RATE), normalise_level(wave, RATE), atol=1e-5)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
@pytest.mark.parametrize("seconds", [2, 10])
def test_long_pauses_are_shortened_and_nothing_else(rate, seconds):
    wave = np.maximum(np.abs(bursts(4, rate)), 0.01)  # never quiet
    assert np.array_equal(shorten_pauses(wave, rate), wave)
    middle = len(wave) // 2 // (rate // 100) * (rate // 100)
    long = np.concatenate([wave[:middle], np.zeros(seconds * rate), wave[middle:]])
    (found,) = pauses(long, rate)
    assert (found[1] - found[0]) / rate == pytest.approx(seconds, abs=0.02)
    short = shorten_pauses(long, rate)
    assert (len(short) - len(wave)) / rate == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(short[:middle], wave[:middle]) and np.array_equal(short[-middle:], wave[-middle:])


def test_pauses_under_noise_and_recordings_without_frames():
    rng = np.random.default_rng(1)
    wave = np.concatenate([bursts(3), np.zeros(2 * RATE), bursts(3)]) + rng.normal(0, 1e-3, 8 * RATE)
    assert max(end - start for start, end in pauses(wave, RATE)) >= 1.9 * RATE
    assert pauses(np.zeros(10), RATE) == [] and len(shorten_pauses(np.ones(10), RATE)) == 10


def test_background_and_bandwidth():
    wave = bursts()
    rng = np.random.default_rng(1)
    level = 10 ** (speech_level(wave, RATE) / 20)
    for snr in (10, 20, 30):
        noisy = wave + rng.normal(0, level * 10 ** (-snr / 20), len(wave))
        assert background_db(noisy, RATE) == pytest.approx(snr - 4, abs=3)  # speech is loud half of the time
    for rate in (16000, 24000, 44100):
        assert high_band_db(resample(wave, RATE, rate), rate) > -10
        assert high_band_db(resample(resample(wave, RATE, 8000), 8000, rate), rate) < -60
