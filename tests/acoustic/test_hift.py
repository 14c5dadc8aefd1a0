"""HiFT vocoder: the original's numbers, the pitch of its source, and fitness for training."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mamtra.acoustic.convolution import Conv1d, ConvTranspose1d, WindowConv1d, window_product
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.sine_source import SineSource, harmonic_sines
from mamtra.acoustic.stft import istft, stft


@pytest.fixture
def vocoder(golden):
    return golden.vocoder()


@pytest.fixture(scope="module")
def vectors(golden):
    return golden["hift"]


@pytest.fixture
def small():
    torch.manual_seed(0)
    return HiFT(HiFTConfig(base_channels=16, f0_channels=8))


def test_f0_and_source_parity(vocoder, vectors, agree):
    with torch.no_grad():
        f0 = vocoder.predict_f0(vectors["mel"])
        agree("F0", f0, vectors["f0"], 1e-3)
        agree("source", vocoder.source(f0, vectors["noise"]), vectors["source"], 5e-4)
        agree("source", vocoder.source(f0, torch.zeros_like(vectors["noise"])), vectors["source_nonoise"], 5e-4)


def test_decoder_parity(vocoder, vectors, agree):
    with torch.no_grad():
        agree("waveform", vocoder.decode(vectors["mel"], vectors["source"]), vectors["wav"], 1e-5)
        vocoder.conv_post.bias[: vocoder.config.istft_n_fft // 2 + 1] += 3.5
        agree("clipped waveform", vocoder.decode(vectors["mel"], vectors["source"]), vectors["wav_loud"], 1e-4)


def test_end_to_end_parity_without_weight_norm(vocoder, vectors, agree):
    vocoder.remove_weight_norm()
    assert not any("parametrizations" in name for name in vocoder.state_dict())
    for noise, wave in ((vectors["noise"], "wav"), (torch.zeros_like(vectors["noise"]), "wav_nonoise")):
        agree("waveform", vocoder.inference(vectors["mel"], noise=noise), vectors[wave], 5e-4)


def test_cached_source_parity(vocoder, vectors, agree):
    silent = torch.zeros_like(vectors["noise"])
    wave, source = vocoder.synthesize(vectors["mel"], source_cache=vectors["cache_source"], noise=silent)
    assert torch.equal(source[:, :, : vectors["cache_source"].shape[2]], vectors["cache_source"])
    agree("source", source, vectors["source_cached"], 5e-4)
    agree("waveform", wave, vectors["wav_cached"], 5e-4)


def test_published_sizes():
    with torch.device("meta"):
        vocoder = HiFT(HiFTConfig())
    assert len(vocoder.state_dict()) == 328
    assert sum(value.numel() for value in vocoder.parameters()) == 20_821_295
    assert vocoder.config.hop == 480


@pytest.mark.parametrize("f0", [110.0, 237.5])
def test_source_sings_at_f0_and_its_multiples(f0):
    sines = harmonic_sines(torch.full((1, 50), f0), 3, 480, 24000)
    peak = torch.fft.rfft(sines[0], n=96000).abs().argmax(-1) * (24000 / 96000)
    assert torch.allclose(peak, torch.tensor([f0, 2 * f0, 3 * f0]), atol=0.6)


def test_phase_stays_exact_over_a_minute():
    f0 = 200 + 50 * torch.sin(torch.arange(3000.0) / 20)[None]
    ours, exact = harmonic_sines(f0, 9, 480, 24000), harmonic_sines(f0.double(), 9, 480, 24000)
    assert (ours - exact).abs().max() < 5e-3


def test_one_noise_for_all_harmonics_has_the_same_power():
    torch.manual_seed(0)
    source, silence, generator = SineSource(8, 480, 24000, 0.1, 0.003, 10.0), torch.zeros(1, 60), torch.Generator()
    with torch.no_grad():
        source.l_linear.bias.zero_()
        many = source(silence, torch.randn(1, 28800, 9, generator=generator.manual_seed(1)))
        one = source(silence, generator=generator.manual_seed(1))
    assert one.shape == many.shape == (1, 1, 28800)
    assert one.std() == pytest.approx(many.std().item(), rel=0.03)


def test_same_seed_same_wave(small):
    mel = torch.randn(1, 80, 6)
    first, again, other = (small.inference(mel, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert first.shape == (1, 2880)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_training_reaches_every_parameter(small):
    mel = torch.randn(2, 80, 5)
    wave, f0 = small(mel, torch.randn(2, 2400, 1))
    (wave.square().mean() + f0.mean()).backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in small.parameters())


def test_training_and_speaking_give_the_same_wave(small):
    mel, source = torch.randn(1, 80, 5), torch.randn(1, 1, 2400)
    trained = small.decode(mel, source)
    with torch.inference_mode():
        assert torch.allclose(small.decode(mel, source), trained, atol=1e-6)


def test_gradient_is_finite_where_the_magnitude_is_limited(small):
    with torch.no_grad():
        small.conv_post.bias[:9] = 200.0
    wave = small.decode(torch.randn(1, 80, 4), torch.zeros(1, 1, 1920))
    assert wave.abs().max() <= 0.99
    wave.sum().backward()
    assert all(value.grad.isfinite().all() for value in small.parameters() if value.grad is not None)


def test_short_fourier_is_torchs_and_inverts():
    wave = torch.randn(2, 480, generator=torch.Generator().manual_seed(0))
    spectrum = stft(wave, 16, 4)
    theirs = torch.stft(wave, 16, 4, window=torch.hann_window(16), return_complex=True)
    assert torch.allclose(spectrum, torch.cat([theirs.real, theirs.imag], dim=1), atol=1e-5)
    assert torch.allclose(istft(spectrum, 16, 4), wave, atol=1e-5)
    spectrum[:, [9, 17]] = 5.0
    library = torch.istft(torch.complex(*spectrum.chunk(2, dim=1)), 16, 4, window=torch.hann_window(16))
    assert torch.allclose(istft(spectrum, 16, 4), library, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"padding": 6, "dilation": 3}, {"stride": 3, "padding": 1}])
def test_cpu_convolution_is_the_ordinary_one(options):
    torch.manual_seed(0)
    conv, x = Conv1d(4, 6, 5, **options), torch.randn(2, 4, 30)
    assert torch.allclose(conv(x), nn.Conv1d.forward(conv, x), atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_product_over_windows_is_the_convolution(kernel):
    layer, x = WindowConv1d(6, 5, kernel), torch.randn(2, 6, 20)
    found = window_product(x.transpose(1, 2), layer.weight, layer.bias).transpose(1, 2)
    assert torch.allclose(found, layer(x), atol=1e-5)
    with torch.no_grad():  # what other devices do in inference
        assert layer.to("meta")(x.to("meta")).shape == found.shape


def test_cpu_convolution_of_one_sample_and_transposed():
    torch.manual_seed(0)
    point, up, x = Conv1d(4, 6, 1), ConvTranspose1d(4, 2, 11, 5, padding=3), torch.randn(2, 4, 30)
    assert torch.allclose(point(x), nn.Conv1d.forward(point, x), atol=1e-5)
    assert torch.allclose(up(x), nn.ConvTranspose1d.forward(up, x), atol=1e-5)


def test_configuration_rejects_what_does_not_fit():
    with pytest.raises(ValidationError, match="upsample_kernel_sizes needs 3"):
        HiFTConfig(upsample_kernel_sizes=(16, 11))
    with pytest.raises(ValidationError, match="divisible by 8"):
        HiFTConfig(base_channels=60)
    with pytest.raises(ValidationError, match="multiple of istft_hop"):
        HiFTConfig(istft_hop=5)
