import numpy as np
import pytest
import torch
from corpus import Corpus, ShardWriter
from supervision import Supervision, usual_pitch, whisper_states
from train_tokenizer import MARGIN, ForwardPass, Heads

from mamtra.encoders.speech_tokenizer import SpeechTokenizer, SpeechTokenizerConfig
from tests.factories import speech_like

SIZES = SpeechTokenizerConfig(width=16, fine_blocks=1, coarse_blocks=1, dims=4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two utterances, one an octave above the other; every third frame is unvoiced."""
    folder = tmp_path_factory.mktemp("corpus")
    writer = ShardWriter(folder / "0")
    for number, hertz in enumerate((100.0, 200.0)):
        f0 = np.full(100, hertz)
        f0[::3] = 0
        writer.add(f"u{number}", "ann", "books", "hˈI.", speech_like(2.0, 24000), f0)
    writer.close()
    return Corpus([folder], "cpu")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("whisper")
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1, "decoder_attention_heads": 1}
    config = transformers.WhisperConfig(
        d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, vocab_size=16, **sizes, pad_token_id=0
    )
    torch.manual_seed(0)
    transformers.WhisperModel(config).save_pretrained(folder)
    return folder


def test_states_are_standardised_and_in_place(corpus, whisper):
    states = whisper_states(whisper, corpus, "cpu", batch=1)
    assert states.shape == (200, 8)
    assert torch.allclose(states.float().mean(0), torch.zeros(8), atol=0.02)
    assert torch.allclose(states.float().std(0), torch.ones(8), atol=0.02)
    assert torch.allclose(states, whisper_states(whisper, corpus, "cpu", batch=2), atol=0.02)


def test_the_usual_pitch_leaves_only_what_moves(corpus):
    usual = usual_pitch(corpus)
    assert torch.allclose(usual, torch.tensor([100.0, 200.0]).log2(), atol=1e-3)


def test_perfect_heads_have_no_loss_of_pitch(corpus):
    """Both utterances are flat: a tone of 0 is right for both, whoever speaks."""
    heads = Supervision(4, None, corpus.f0, width=8)
    torch.nn.init.zeros_(heads.pitch.weight)
    with torch.no_grad():
        heads.pitch.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0]))
    starts, lengths = torch.tensor([row.start for row in corpus.rows]), torch.tensor([50, 50])
    values = torch.zeros(2, 50 + 2 * MARGIN, 4)
    right = heads(values, starts, lengths, usual_pitch(corpus))["pitch"]
    wrong = heads(values, starts, lengths, usual_pitch(corpus) + 1)["pitch"]
    assert right.item() == pytest.approx(float(np.log(2)), abs=1e-3)  # of the voicing alone
    assert (wrong - right).item() == pytest.approx(1.0, abs=1e-3)


def test_all_losses_reach_the_tokenizer(corpus, whisper):
    torch.manual_seed(0)
    tokenizer, heads = SpeechTokenizer(SIZES), Heads(4, 5, width=16)
    supervision = Supervision(4, whisper_states(whisper, corpus, "cpu"), corpus.f0, width=16)
    step = ForwardPass(corpus, tokenizer, heads, 50, supervision, perturbation=1.0, agree=True)
    given = (torch.tensor([0, 50]), torch.tensor([50, 50]), torch.zeros(2, 192), torch.tensor(1.0), usual_pitch(corpus))
    _, losses = step(*given)
    assert set(losses) == {"mel", "states", "pitch", "agreement"}
    for loss in losses.values():
        (slope,) = torch.autograd.grad(loss, [tokenizer.digits.weight], retain_graph=True)
        assert float(slope.abs().max()) > 0


def test_without_the_new_settings_the_step_is_the_old_one(corpus):
    torch.manual_seed(0)
    step = ForwardPass(corpus, SpeechTokenizer(SIZES), Heads(4, 5, width=16), 50)
    _, losses = step(torch.tensor([0, 50]), torch.tensor([50, 50]), torch.zeros(2, 192), torch.tensor(0.0))
    assert set(losses) == {"mel"}
