import pytest
import torch

from mamtra.encoders.framing import CONTEXT, WINDOW, windows
from mamtra.encoders.speech_tokenizer import MARGIN, SpeechTokenizer, SpeechTokenizerConfig, token_digits
from tests.factories import speech_like

SMALL = SpeechTokenizerConfig(
    width=16, layers=2, heads=2, inner=24, reach=6, narrow=16, coarse_blocks=1, kernel=3, expansion=2
)


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
    log_mel = torch.randn(2, 80, 40, generator=torch.Generator().manual_seed(1)) * 3
    codes = tokenizer(log_mel)
    assert codes.shape == (2, 10) and codes.dtype == torch.int64
    assert torch.equal(token_digits(codes, SMALL), tokenizer.latents(log_mel).round())


def test_rounding_lets_the_gradient_through(tokenizer):
    values, latents = tokenizer.quantise(torch.randn(1, 80, 16, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(values, latents.round())
    tokenizer.zero_grad()
    values.square().sum().backward()
    assert tokenizer.conv1.weight.grad.abs().sum() > 0


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
    sight = SMALL.layers * SMALL.reach // 2 + SMALL.coarse_blocks * (SMALL.kernel // 2) + 1
    assert sight <= MARGIN  # and all that a token sees


def test_a_token_sees_no_farther_than_its_layers_reach(tokenizer):
    log_mel = torch.randn(1, 80, 240, generator=torch.Generator().manual_seed(3))
    changed = log_mel.clone()
    changed[..., 200:] += 1
    same = (tokenizer.latents(log_mel) == tokenizer.latents(changed))[0].all(-1)
    sight = SMALL.layers * SMALL.reach // 2 + SMALL.coarse_blocks * (SMALL.kernel // 2) + 1
    assert same[: 50 - sight].all() and not same[50:].any()


@pytest.mark.parametrize("tokens", [1, CONTEXT, WINDOW, WINDOW + 1, WINDOW + CONTEXT, 3 * WINDOW, 5000])
def test_windows_keep_every_token_once_and_hear_what_is_beside_it(tokens):
    places = [place for _, kept in windows(tokens) for place in range(kept.start, kept.stop)]
    assert places == list(range(tokens))
    for heard, kept in windows(tokens):
        assert heard.stop - heard.start <= WINDOW and heard.stop <= tokens
        assert heard.start <= max(0, kept.start - CONTEXT) and heard.stop >= min(tokens, kept.stop + CONTEXT)


def test_a_long_recording_is_heard_in_windows(tokenizer):
    """Of random weights, whose tokens hang on positions too: those of each window are those of its sound alone."""
    log_mel = torch.randn(1, 80, 4 * (WINDOW + 40), generator=torch.Generator().manual_seed(4))
    codes = tokenizer(log_mel)
    assert codes.shape == (1, WINDOW + 40)
    assert torch.equal(codes[:, : WINDOW - CONTEXT], tokenizer(log_mel[..., : 4 * WINDOW])[:, : WINDOW - CONTEXT])
    second = tokenizer(log_mel[..., 4 * (WINDOW - 2 * CONTEXT) :])
    assert torch.equal(codes[:, WINDOW - CONTEXT :], second[:, CONTEXT:])
