import pytest
import torch

from mamtra.encoders.speech_tokenizer import MARGIN, SpeechTokenizer, SpeechTokenizerConfig, token_digits
from tests.factories import speech_like

SMALL = SpeechTokenizerConfig(width=16, fine_blocks=1, coarse_blocks=1, kernel=3)


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    return SpeechTokenizer(SMALL).eval()


def test_tokens_and_digits_are_one_to_one():
    codes = torch.arange(SMALL.num_tokens)
    digits = token_digits(codes, SMALL)
    assert digits.shape == (6561, 8) and set(digits.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert torch.equal(((digits.long() + 1) * 3 ** torch.arange(8)).sum(-1), codes)


def test_digits_are_the_rounded_latents(tokenizer):
    log_mel = torch.randn(2, 128, 40, generator=torch.Generator().manual_seed(1)) * 3
    codes = tokenizer(log_mel)
    assert codes.shape == (2, 10) and codes.dtype == torch.int64
    assert torch.equal(token_digits(codes, SMALL), tokenizer.latents(log_mel).round())


def test_rounding_lets_the_gradient_through(tokenizer):
    values, latents = tokenizer.quantise(torch.randn(1, 128, 16, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(values, latents.round())
    tokenizer.zero_grad()
    values.square().sum().backward()
    assert tokenizer.encoder[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 16000])
def test_a_token_for_every_begun_40_ms(tokenizer, samples):
    wave = torch.from_numpy(speech_like(1.0))[:samples]
    codes = tokenizer.tokenize(wave)
    assert codes.shape == (-(-samples // 640),)
    assert codes.min() >= 0 and codes.max() < SMALL.num_tokens


def test_silence_at_the_end_changes_nothing_before_its_field_of_view(tokenizer):
    wave = torch.from_numpy(speech_like(1.2))[: 30 * 640]
    longer = torch.cat([wave, torch.zeros(20 * 640)])
    assert torch.equal(tokenizer.tokenize(longer)[:30], tokenizer.tokenize(wave))
    assert MARGIN * 640 > 400  # the margin covers a feature window, so both see the same silence
