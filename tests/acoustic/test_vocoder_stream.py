"""The vocoder by pieces and in batches: the same sound as in one pass, row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.receptive_field import receptive_field
from mamtra.acoustic.sine_source import harmonic_sines, phase_after
from mamtra.acoustic.stft import istft, stft
from mamtra.acoustic.vocoder_stream import VocoderStream
from tests.acoustic.test_causal_hift import VOCODER as CAUSAL
from tests.acoustic.test_causal_hift import mels
from tests.acoustic.test_source_filter import VOCODER as FRAMES


def build() -> HiFT:
    """Louder than a fresh one and with F0 near 150 Hz, so that all paths are heard, but tame enough to compare numbers."""
    torch.manual_seed(0)
    made = HiFT(HiFTConfig(base_channels=16, f0_channels=8)).remove_weight_norm().eval()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.endswith("weight") and "f0" not in name and "m_source" not in name:
                value.normal_(0, 0.7 * value[0].numel() ** -0.5)
        made.f0_predictor.classifier.bias.fill_(150.0)
        made.f0_predictor.classifier.weight.mul_(60)
    return made


VOCODER = build()


def tape(samples: int, seed: int = 1):
    """Noise as one whole, and a function that hands it out in pieces."""
    noise, at = torch.randn(1, samples, 1, generator=torch.Generator().manual_seed(seed)), [0]

    def draw(count: int) -> torch.Tensor:
        at[0] += count
        return noise[:, at[0] - count : at[0]]

    return noise, draw


EACH = pytest.mark.parametrize(
    "vocoder", [VOCODER, CAUSAL, FRAMES], ids=["CosyVoice 2", "CosyVoice 3", "at frame rate"]
)
"""The second one has noise of its own, the same for every utterance."""


@EACH
@settings(max_examples=8)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_pieces_are_the_whole(vocoder, sizes, seed):
    sizes[0] += 1
    mel = mels(sum(sizes), seed=seed)
    noise, draw = tape(480 * sum(sizes)) if vocoder is not CAUSAL else (None, vocoder.noise(torch.Generator()))
    whole = vocoder.inference(mel, noise=noise)
    stream, pieces = VocoderStream(vocoder, draw), mel.split(sizes, dim=2)
    wave = torch.cat([stream.push(piece, final=i == len(sizes) - 1) for i, piece in enumerate(pieces)], dim=1)
    assert wave.shape == whole.shape and whole.std() > 0.01
    # A rounding error of F0 moves a pulse, which is steep.
    assert (wave - whole).abs().max() < (1e-3 if vocoder is FRAMES else 1e-4)


def test_the_receptive_field_is_enough_and_not_lavish():
    before, after = receptive_field(HiFTConfig())
    assert (before, after) == (15, 20)
    mel = torch.randn(1, 80, 80, generator=torch.Generator().manual_seed(0))
    noise, _ = tape(480 * 80)
    whole = VOCODER.inference(mel, noise=noise)
    changed = mel.clone()
    changed[:, :, 40] += 1
    difference = (VOCODER.inference(changed, noise=noise) - whole)[0].abs().unflatten(0, (-1, 480)).amax(1)
    assert (difference[: 40 - after] == 0).all() and (difference[40 - after + 6 : 40] > 0).any()


def test_less_lookahead_is_only_nearly_the_whole():
    mel = torch.randn(1, 80, 60, generator=torch.Generator().manual_seed(0))
    noise, draw = tape(480 * 60)
    stream = VocoderStream(VOCODER, draw, lookahead=0)
    wave = torch.cat([stream.push(mel[:, :, :30]), stream.push(mel[:, :, 30:], final=True)], dim=1)
    difference = (wave - VOCODER.inference(mel, noise=noise)).abs()[0]
    assert difference.max() > 1e-3 and difference[: 8 * 480].max() < 1e-5


def test_noise_drawn_in_pieces_is_noise_drawn_at_once():
    whole = torch.randn(1, 480 * 9, 1, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(torch.cat([torch.randn(1, 480 * n, 1, generator=generator) for n in (1, 5, 3)], dim=1), whole)


def test_sines_go_on():
    f0 = 150 + 30 * torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    whole = harmonic_sines(f0, 9, 480, 24000)
    first = harmonic_sines(f0[:, :15], 9, 480, 24000)
    rest = harmonic_sines(f0[:, 15:], 9, 480, 24000, phase_after(f0[:, :15], 9, 480, 24000))
    assert (rest - whole[..., 15 * 480 :]).abs().max() < 2e-3
    assert (first - whole[..., : 15 * 480])[..., :-240].abs().max() < 1e-5


@EACH
@settings(max_examples=8)
@given(lengths=st.lists(st.integers(1, 30), min_size=2, max_size=4))
def test_a_batch_is_its_rows(vocoder, lengths):
    frames, seed = max(lengths), sum(lengths)
    mel = mels(frames, len(lengths), seed)
    noise = torch.randn(len(lengths), 480 * frames, 1, generator=torch.Generator().manual_seed(seed))

    def given_noise(rows: slice, samples: int) -> torch.Tensor | None:
        return noise[rows, :samples] if vocoder is not CAUSAL else None

    batch = vocoder.inference(mel, noise=given_noise(slice(None), 480 * frames), lengths=torch.tensor(lengths))
    for row, n in enumerate(lengths):
        rows = slice(row, row + 1)
        alone = vocoder.inference(mel[rows, :, :n], noise=given_noise(rows, 480 * n))
        assert (batch[rows, : 480 * n] - alone).abs().max() < (1e-3 if vocoder is FRAMES else 1e-4)
        assert (batch[row, 480 * n :] == 0).all()


def test_short_fourier_of_rows():
    wave = torch.randn(2, 480, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([480, 64])
    spectrum = stft(wave, 16, 4, lengths)
    alone = stft(wave[1:, :64], 16, 4)
    assert torch.allclose(spectrum[1:, :, :17], alone, atol=1e-5) and (spectrum[1, :, 17:] == 0).all()
    assert torch.allclose(istft(spectrum, 16, 4, lengths)[1, :64], wave[1, :64], atol=1e-5)
