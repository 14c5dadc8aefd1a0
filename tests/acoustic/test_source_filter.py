"""The vocoder at frame rate and its pulses; for streams, batches and hops see `test_vocoder_stream` and `test_hop_vocoder`."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from mamtra.acoustic.pulse_source import PulseSource
from mamtra.acoustic.source_filter import SourceFilter, SourceFilterConfig
from mamtra.checkpoints.parts import PARTS

SIZES = {"width": 16, "hidden": 24, "blocks": 3, "f0_channels": 8}


def build() -> SourceFilter:
    """F0 near 150 Hz, and all three parts of the spectrum audible."""
    torch.manual_seed(0)
    made = SourceFilter(SourceFilterConfig(**SIZES)).remove_weight_norm().eval()
    with torch.no_grad():
        made.last.bias[: 3 * made.bins] = -6.0
        made.f0_predictor.classifier.bias.fill_(150.0)
        made.f0_predictor.classifier.weight.mul_(60)
    return made


VOCODER = build()


@pytest.fixture
def source():
    return PulseSource(480, 24000, 11500.0, 45.0)


@pytest.mark.parametrize("f0", [100.0, 237.5])
def test_pulses_are_all_harmonics_equally_loud(source, f0):
    pulses = source(torch.full((1, 60), f0))[0, 0, 2400:-2400]
    spectrum = torch.fft.rfft(pulses * torch.hann_window(len(pulses))).abs() * 4 / len(pulses)
    hertz = torch.arange(len(spectrum)) * 24000 / len(pulses)
    count = int(11500 / f0)
    loud = torch.stack([spectrum[(hertz - f0 * k).abs() < f0 / 4].max() for k in range(1, count + 2)])
    # A bin may lie half a bin away from a harmonic.
    assert (loud[:count] > 0.84).all() and (loud[:count] < 1.01).all()
    assert loud[count] == pytest.approx(11500 / f0 - count, abs=0.1)


def test_unvoiced_frames_are_noise_alone(source):
    f0, noise = torch.full((1, 20), 150.0), torch.randn(1, 20 * 480, 1, generator=torch.Generator().manual_seed(0))
    f0[:, 7:12] = 30.0
    pulses, kept = source(f0, noise)[0]
    heard = pulses.unflatten(0, (-1, 480)).abs().amax(1)
    assert (heard[7:12] == 0).all() and (heard[:7] > 30).all() and (heard[12:] > 30).all()
    assert torch.equal(kept, noise[0, :, 0])


def test_pulses_go_on_where_a_block_ended(source):
    f0 = 150 + 30 * torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    f0[0, 14:18] = f0[1, 15] = 0
    noise = torch.randn(2, 40 * 480, 1)
    whole = source(f0, noise)
    phase = source.phase_after(f0[:, 9:15], source.phase_after(f0[:, :9]))
    rest = source(f0[:, 15:], noise[:, 15 * 480 :], phase=phase)
    assert whole.abs().max() > 50 and (rest - whole[..., 15 * 480 :]).abs().max() < 0.05


def test_pitch_glides_between_the_centres_of_frames(source):
    f0 = torch.linspace(100, 200, 51)[None]
    pulses = source(f0, torch.zeros(1, 51 * 480, 1))[0, 0]
    peaks = (pulses[1:-1] > 30) & (pulses[1:-1] >= pulses[:-2]) & (pulses[1:-1] > pulses[2:])
    at = torch.nonzero(peaks)[:, 0]
    # 2 Hz a frame; a period is found to the sample.
    expected = 100 + 2 * ((at[1:] + at[:-1]) / 960 - 0.5)
    found = 24000 / at.diff()
    assert (found - expected).abs().max() < 2.5 and len(at) == pytest.approx(0.98 * 150 + 2, abs=3)


@torch.no_grad()
def test_the_receptive_field_is_enough_and_not_lavish():
    before, after = VOCODER.receptive_field()
    assert (before, after) == (7, 12)
    generator = torch.Generator().manual_seed(0)
    mel, noise = torch.randn(1, 80, 60, generator=generator), torch.randn(1, 60 * 480, 1, generator=generator)
    changed, source = mel.clone(), VOCODER.synthesize(mel, noise=noise).source
    changed[:, :, 30] += 5

    def moved(one, other):
        return (one - other)[0].abs().unflatten(0, (-1, 480)).amax(1)

    of_mel = moved(VOCODER.decode(changed, source), VOCODER.decode(mel, source))
    assert (of_mel[: 30 - before] == 0).all() and (of_mel[31 + before :] == 0).all()
    assert of_mel[30 - before] > 0 or of_mel[31 - before] > 0
    everything = moved(VOCODER.inference(changed, noise=noise), VOCODER.inference(mel, noise=noise))
    assert (everything[: 30 - after] == 0).all() and (everything[31 - after : 33 - after] > 0).any()


@torch.no_grad()
def test_utterances_that_begin_later_sound_as_alone():
    generator = torch.Generator().manual_seed(1)
    mel, source = torch.randn(2, 80, 30, generator=generator), torch.randn(2, 2, 30 * 480, generator=generator)
    begin, end = torch.tensor([0, 9]), torch.tensor([17, 30])
    wave = VOCODER.decode_inside(mel, source, begin, end)
    for row in range(2):
        span = slice(begin[row], end[row])
        samples = slice(480 * begin[row], 480 * end[row])
        alone = VOCODER.decode(mel[row : row + 1, :, span], source[row : row + 1, :, samples])
        assert alone.std() > 0.01
        torch.testing.assert_close(wave[row, samples], alone[0], atol=1e-5, rtol=0)
        assert (wave[row, : 480 * begin[row]] == 0).all() and (wave[row, 480 * end[row] :] == 0).all()


def test_gradients_reach_all_weights_but_the_pitch():
    made = build().train()
    made.decode(torch.randn(1, 80, 12), made.source(torch.full((1, 12), 150.0))).square().sum().backward()
    assert all((value.grad is None) == name.startswith("f0_predictor") for name, value in made.named_parameters())


def test_default_sizes():
    with torch.device("meta"):
        made = SourceFilter(SourceFilterConfig())
    assert made.receptive_field() == (10, 15)
    assert sum(value.numel() for value in made.parameters()) < 2_840_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 7}, "multiple of rate"), ({"n_fft": 480}, "3 times"), ({"source_bins": 362}, "source_bins"),
        ({"kernel": 4}, "odd"), ({"base_channels": 16}, "base_channels"),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        PARTS["vocoder"].parse({"architecture": "source_filter", **change})
