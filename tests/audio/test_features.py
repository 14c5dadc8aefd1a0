"""Spectral features: the original's numbers, and what they must do for any signal."""

from __future__ import annotations

import math

import pytest
import torch

from mamtra.audio.features import kaldi_fbank_80, mel_24k, slaney_filterbank, whisper_log_mel_128
from tests.audio import naive


def tone(hertz: float, rate: int, seconds: float = 0.5) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz / rate * torch.arange(int(rate * seconds)))[None]


@pytest.fixture(scope="module")
def vectors(golden):
    return golden["features"]


def test_filterbank_is_the_originals(vectors, agree):
    theirs = vectors["mel_filterbank_24k"]
    bands, frequencies = theirs.shape
    ours = slaney_filterbank(24000, 2 * (frequencies - 1), bands, 8000.0, torch.device("cpu"))
    agree("filter bank", ours, theirs, 1e-7)


def pairs(vectors, wave, feature):
    """Waveforms and their features."""
    found = [(vectors[name], vectors[name.replace(wave, feature)]) for name in vectors if name.startswith(wave)]
    assert len(found) > 1
    return found


def test_mel_parity(vectors, agree):
    for wave, theirs in pairs(vectors, "wav24k_", "mel24k_"):
        ours = mel_24k(wave)
        agree("mel at 24 kHz", ours, theirs, 1e-3)
        assert (ours - theirs).abs().mean() < 1e-5


def test_whisper_parity(vectors, agree):
    for wave, theirs in pairs(vectors, "wav16k_", "whisper128_"):
        agree("Whisper's log-mel", whisper_log_mel_128(wave), theirs, 1e-4)


def test_kaldi_parity(vectors, agree):
    for wave, theirs in pairs(vectors, "wav16k_", "fbank80_"):
        ours = kaldi_fbank_80(wave)[0]
        agree("Kaldi's filter bank", ours, theirs, 2e-3)
        assert (ours - theirs).abs().mean() < 1e-4


def test_a_higher_tone_lies_in_a_higher_bin():
    for feature, rate, axis in ((mel_24k, 24000, 1), (whisper_log_mel_128, 16000, 1), (kaldi_fbank_80, 16000, 2)):
        peaks = [feature(tone(hertz, rate)).mean(dim=3 - axis).argmax().item() for hertz in (300, 1200, 5000)]
        assert peaks == sorted(set(peaks)), feature.__name__


def test_frame_rates():
    assert mel_24k(torch.zeros(1, 24000)).shape == (1, 80, 50)
    assert whisper_log_mel_128(torch.zeros(1, 16000)).shape == (1, 128, 100)
    assert kaldi_fbank_80(torch.zeros(16000)).shape == (98, 80)


def test_rows_of_a_batch_do_not_mix():
    loud, quiet = tone(440, 16000), 1e-3 * tone(880, 16000)
    both = torch.cat([loud, quiet])
    for feature in (whisper_log_mel_128, kaldi_fbank_80):
        assert torch.allclose(feature(both)[1:], feature(quiet), atol=1e-5)


def test_kaldi_ignores_a_constant_offset():
    wave = tone(440, 16000)
    assert torch.allclose(kaldi_fbank_80(wave + 0.25), kaldi_fbank_80(wave), atol=2e-2)


def test_tables_first_made_in_inference_mode_serve_training():
    slaney_filterbank.cache_clear()
    with torch.inference_mode():
        mel_24k(tone(440, 24000))
    wave = tone(440, 24000).requires_grad_()
    mel_24k(wave).sum().backward()
    assert wave.grad.isfinite().all() and wave.grad.abs().sum() > 0


@pytest.mark.parametrize("feature", ["mel_24k", "whisper_log_mel_128", "kaldi_fbank_80"])
def test_features_are_those_of_their_definitions(feature):
    generator = torch.Generator().manual_seed(0)
    wave = 0.1 * torch.randn(1, 9000, generator=generator).cumsum(1).sin() + 1e-3 * torch.randn(
        1, 9000, generator=generator
    )
    ours = globals()[feature](wave)[0].double().numpy()
    theirs = getattr(naive, feature)(wave[0].numpy())
    assert ours.shape == theirs.shape and abs(ours - theirs).max() < 1e-3
