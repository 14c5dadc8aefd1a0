"""CosyVoice 3's vocoder: no sample waits for more than five frames, its source is held; for streams see `test_vocoder_stream`."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from pydantic import ValidationError

from mamtra.acoustic.causal_hift import CausalHiFT, CausalHiFTConfig, DownConv1d, LeftConv1d, RepeatConv1d, RightConv1d
from mamtra.acoustic.fixed_noise import _Tape, fixed_uniform
from mamtra.acoustic.sine_source import held_sines, phase_after
from tests.parity.cosyvoice3 import VOCODER as SMALL
from tests.parity.cosyvoice3 import vocoder_weights
from tests.parity.fixture import seeded


def build() -> CausalHiFT:
    made = seeded(CausalHiFT(SMALL), "vocoder")
    made.load_state_dict(vocoder_weights(made.state_dict()))
    return made.remove_weight_norm()


VOCODER = build()


def mels(frames: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(batch, 80, frames, generator=torch.Generator().manual_seed(seed)) - 3


@torch.no_grad()
def test_the_receptive_field_is_enough_and_not_lavish():
    before, after = VOCODER.receptive_field()
    assert (before, after) == (29, 5)
    mel = mels(90)
    whole, changed = VOCODER.inference(mel), mel.clone()
    changed[:, :, 40] += 30
    # With the excitation as it was, since a changed phase is heard for ever.
    source = VOCODER.synthesize(mel).source
    for other in (VOCODER.inference(changed), VOCODER.decode(changed, source)):
        difference = (other - whole)[0].abs().unflatten(0, (-1, 480)).amax(1)
        assert (difference[: 40 - after] < 1e-6).all() and difference[40 - after] > 1e-6
    loud = seeded(CausalHiFT(SMALL), "vocoder").remove_weight_norm()
    changed = source.clone()
    changed[:, :, 40 * 480 : 41 * 480] += 1
    difference = (loud.decode(mel, changed) - loud.decode(mel, source))[0].abs().unflatten(0, (-1, 480)).amax(1)
    assert (difference[40 + before + 1 :] < 1e-4).all() and (difference[40 + before - 6 :] > 1e-3).any()


def test_f0_is_computed_in_float64():
    mel = mels(50)
    single = VOCODER.predict_f0(mel)
    exact = VOCODER.f0_predictor.double()(mel.double())
    VOCODER.f0_predictor.float()
    assert single.dtype == torch.float32 and torch.equal(single, exact)


def test_sines_are_held_and_go_on():
    f0 = 150 + 30 * torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    whole = held_sines(f0, 9, 480, 24000)
    assert torch.equal(whole[..., 0:480], whole[..., :1].expand(-1, -1, 480))
    phase = 2 * math.pi * 480 * (f0.double()[:, None] * torch.arange(1, 10)[:, None] / 24000).cumsum(-1)
    assert (whole[..., ::480] - phase.sin()).abs().max() < 2e-3
    rest = held_sines(f0[:, 15:], 9, 480, 24000, phase_after(f0[:, :15], 9, 480, 24000))
    assert (rest - whole[..., 15 * 480 :]).abs().max() < 2e-3


def test_layers_see_what_they_should():
    x = torch.randn(1, 3, 31, generator=torch.Generator().manual_seed(0))
    cases = [
        (LeftConv1d(3, 4, 5, 2), range(2, 11, 2), [10], 31),
        (RightConv1d(3, 4, 5), range(10, 15), [10], 31),
        (RepeatConv1d(3, 4, 7, 3), range(8, 11), [30, 31, 32], 93),
        (DownConv1d(3, 4, 5), range(6, 16), [2], 6),
    ]
    for layer, seen, places, length in cases:
        made = layer(x)
        assert made.shape == (1, 4, length)
        for i in range(31):
            changed = x.clone()
            changed[:, :, i] += 1
            touched = (layer(changed) - made)[:, :, places].abs().max() > 1e-3
            assert touched == (i in seen), (type(layer).__name__, i)


def test_fixed_noise_does_not_depend_on_how_it_is_asked_for():
    tape, other = _Tape(9), _Tape(9)
    found = []
    threads = [threading.Thread(target=lambda n=n: found.append((n, tape.first(n)))) for n in (10, 500_000, 240_001)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = other.first(500_000)
    assert all(torch.equal(part, whole[:n]) for n, part in found)
    assert whole.min() >= 0 and whole.max() < 1 and abs(whole.mean() - 0.5) < 1e-3
    drawn = VOCODER.noise(torch.Generator())
    assert torch.equal(torch.cat([drawn(480), drawn(960)], dim=1)[0], fixed_uniform(1440))


def test_training_draws_its_noise():
    vocoder = CausalHiFT(SMALL).train()
    wave, _ = vocoder(mels(10))
    wave.sum().backward()
    assert vocoder.conv_pre.parametrizations.weight.original1.grad.abs().sum() > 0
    assert not torch.equal(wave, vocoder(mels(10))[0])


@pytest.mark.parametrize(
    "wrong", [{"conv_pre_look_right": -1}, {"architecture": "centred"}, {"upsample_rates": (8, 5)}]
)
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(ValidationError):
        CausalHiFTConfig(**wrong)
