"""The resampling filter that prompts of CosyVoice 2 go through."""

import numpy as np
import pytest

from mamtra.audio.sinc_resample import sinc_resample
from tests.audio import naive


def test_vectors_of_the_original(golden, agree):
    found = golden["resample"]
    for name, wanted in found.items():
        if name.startswith("out_"):
            _, source, target = name.split("_")
            made = sinc_resample(found[f"in_{source}"][0].numpy(), int(source), int(target))
            agree("samples", made, wanted[0], 1e-5)


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 24000), (22050, 24000), (48000, 16000), (8000, 16000)])
def test_a_tone_stays_a_tone(rates):
    source, target = rates
    tone = [np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate).astype(np.float32) for rate in rates]
    made = sinc_resample(tone[0], source, target)
    assert made.shape == tone[1].shape and made.dtype == np.float32
    inner = slice(target // 50, -target // 50)
    assert np.abs(made[inner] - tone[1][inner]).max() < 3e-3


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 24000), (22050, 24000), (48000, 16000)])
def test_samples_are_those_of_the_definition(rates):
    wave = np.random.default_rng(0).uniform(-1, 1, 700).astype(np.float32)
    made, wanted = sinc_resample(wave, *rates), naive.resample(wave, *rates)
    assert made.shape == wanted.shape and np.abs(made - wanted).max() < 1e-5


def test_nothing_to_do():
    empty, some = np.zeros(0, np.float32), np.ones(3, np.float32)
    assert sinc_resample(empty, 44100, 16000) is empty and sinc_resample(some, 16000, 16000) is some
