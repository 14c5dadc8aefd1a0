import pytest
import torch
from perturb import bins_of, centres, perturb, scale_frequencies

from mamtra.audio.features import slaney_filterbank, whisper_log_mel_128


def test_centres_are_those_of_the_filterbank():
    peaks = slaney_filterbank(16000, 400_000, 128, 8000.0, torch.device("cpu")).argmax(1) * 16000 / 400_000
    assert torch.allclose(centres(128, torch.device("cpu")), peaks.float(), atol=0.5)


def test_bins_invert_centres():
    assert torch.allclose(bins_of(centres(128, torch.device("cpu")), 128), torch.arange(128.0), atol=1e-3)


@pytest.mark.parametrize("hertz", [400.0, 1500.0, 3000.0])
@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_scaling_moves_a_tone(hertz, factor):
    tone = torch.sin(2 * torch.pi * hertz * torch.arange(16000) / 16000)[None]
    power = 10 ** (4 * whisper_log_mel_128(tone) - 4)
    moved = scale_frequencies(power, torch.tensor([[factor]])).mean(2).argmax()
    assert centres(128, power.device)[moved] == pytest.approx(factor * hertz, rel=0.04)


def test_strength_zero_changes_nothing_and_one_keeps_time():
    torch.manual_seed(0)
    wave = torch.randn(2, 32000) * torch.cat((torch.zeros(16000), torch.ones(16000)))
    log_mel = whisper_log_mel_128(wave)
    assert torch.allclose(perturb(log_mel, 0.0), log_mel, atol=1e-4)
    changed = perturb(log_mel, 1.0)
    assert changed.shape == log_mel.shape and bool(torch.isfinite(changed).all())
    assert bool((changed[:, :64, 110:].mean((1, 2)) > changed[:, :64, :90].mean((1, 2))).all())
    assert float((changed - log_mel).abs().mean()) > 0.01
