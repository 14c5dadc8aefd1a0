import json
from pathlib import Path

import numpy as np
import pytest
import torch
import train_encoder
import train_tokenizer
from corpus import Corpus, ShardWriter
from listening import usual_pitch, whisper_states
from speech import Speech
from tokens import tokenize_corpus
from trained import load_network, read_metadata
from training import section

from mamtra.encoders.speech_tokenizer import token_digits
from tests.factories import speech_like

COMMON = ("--config", str(Path(train_encoder.__file__).with_name("mini.yaml")), "--device", "cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Utterances of the bulk voice, of Kokoro and of real speakers in turns, each an octave above the one before."""
    folder = tmp_path_factory.mktemp("corpus")
    writer = ShardWriter(folder / "0")
    for number in range(6):
        source = ("books", "kokoro", "real")[number % 3]
        f0 = np.full(100, 60.0 * 2 ** (number % 3))
        f0[::4] = 0
        writer.add(f"u{number}", f"{source} {number}", source, "hˈI ðɛɹ.", speech_like(2.0, 24000), f0)
    writer.close()
    return folder


@pytest.fixture(scope="module")
def given(corpus):
    """The file of a tokenizer after two steps of training."""
    speakers, out = corpus / "speakers.npz", corpus / "tokenizer.safetensors"
    keys = [row.key for row in Corpus([corpus], "cpu", ("audio16",)).rows]
    np.savez(speakers, keys=np.array(keys), embeddings=np.eye(6, 192, dtype=np.float16))
    places = ["--corpus", str(corpus), "--speakers", str(speakers), "--out", str(out)]
    sizes = "model={width: 16, fine_blocks: 1, coarse_blocks: 1, kernel: 3, expansion: 2, levels: 3, dims: 4}"
    train_tokenizer.main([*COMMON, *places, "minutes=null", "steps=2", "tokens_per_batch=100", sizes])
    assert read_metadata(out)["resumed"] is False
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two utterances, one an octave above the other; every third frame is unvoiced."""
    folder = tmp_path_factory.mktemp("corpus")
    writer = ShardWriter(folder / "0")
    for number, hertz in enumerate((100.0, 200.0)):
        f0 = np.full(100, hertz)
        f0[::3] = 0
        writer.add(f"u{number}", "ann", "books", "hˈI.", speech_like(2.0, 24000), f0)
    writer.close()
    return Corpus([folder], "cpu")


def test_states_are_standardised_and_in_place(two, whisper):
    states = whisper_states(whisper, two, "cpu", batch=1)
    assert states.shape == (200, 8)
    assert torch.allclose(states.float().mean(0), torch.zeros(8), atol=0.02)
    assert torch.allclose(states.float().std(0), torch.ones(8), atol=0.02)
    assert torch.allclose(states, whisper_states(whisper, two, "cpu", batch=2), atol=0.02)


def test_the_usual_pitch_leaves_only_what_moves(two):
    usual = usual_pitch(two)
    assert torch.allclose(usual, torch.tensor([100.0, 200.0]).log2(), atol=1e-3)


def test_a_listener_hears_no_mean_and_no_usual_pitch(corpus):
    loaded = Corpus([corpus], "cpu")
    heard = train_encoder.hear(loaded, torch.randn(600, 8).half() + 3)
    assert heard.shape == (300, 20) and heard.dtype == torch.float16
    assert float(heard[:50, :16].float().unflatten(1, (2, 8)).mean((0, 1)).abs().max()) < 0.01
    assert heard[:, 16::2].unique().tolist() == [0.0]  # all are flat
    assert heard[:, 17::2].float().mean() == 0.75


def test_losses_of_what_is_heard_are_those_of_the_frames_inside_and_of_known_pitch():
    """States, then relative pitch and voicing of two frames: recalled as heard but for what has to be left out."""
    wanted = torch.tensor([0.5, -0.5, 0.25, 1.0, 0.0, 0.0]).expand(2, 3, 6).clone()
    wanted[1, :, 2:] = 0.0  # a row without any voiced frame: its pitch is not known
    recalled, lengths = wanted.clone(), torch.tensor([2, 3])
    recalled[..., 3::2] = (wanted[..., 3::2] - 0.5) * 100  # logits
    recalled[0, 2], recalled[0, :, 4], recalled[1, :, 2:] = 9.0, 5.0, 3.0
    pitch, states = train_tokenizer.recall_losses(recalled, wanted, lengths)
    assert float(pitch) == pytest.approx(0.0, abs=1e-6) and float(states) == 0.0
    recalled[0, :2, 2] += 0.1
    recalled[1, 0, :2] += 1.0
    pitch, states = train_tokenizer.recall_losses(recalled, wanted, lengths)
    assert float(pitch) == pytest.approx(0.4) and float(states) == pytest.approx(1 / 5)
    assert float(train_tokenizer.recall_losses(recalled[..., 2:], wanted[..., 2:], lengths)[1]) == 0.0


def test_equal_latents_are_nearest_and_the_digit_is_the_likeliest():
    latents = torch.rand(2, 5, 4) * 2 - 1
    wanted = train_encoder.digit_logits(latents, 3, 0.1).softmax(-1)
    assert torch.equal(wanted.argmax(-1) - 1, latents.round().long())
    inside = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])

    def loss(moved):
        return float(train_encoder.distance(train_encoder.digit_logits(moved, 3, 0.1), wanted, inside))

    assert loss(latents) < min(loss(latents + 0.1), loss(latents - 0.1))
    outside = latents.clone()
    outside[1, 2:] = 1.0
    assert loss(outside) == loss(latents)


def test_wanted_are_the_given_tokens_and_for_real_speakers_what_is_read_more_easily(corpus, whisper, given):
    speech = Speech([corpus], "cpu", ("audio16", "f0"), ("kokoro", "real"))
    config, tokenizer = section(Path(COMMON[1]), "encoder"), load_network(given, "speech_tokenizer")
    training = train_encoder.Training(
        speech, config, tokenizer, whisper_states(whisper, speech.corpus, "cpu").clone(), None
    )
    training.reader.eval(), training.listener.eval()
    training.hardness = lambda digits: [digits[row.start].sum().item() for row in speech.rows]
    training.listener.forward = lambda heard: torch.tensor([3.0, 0.0, 0.0]).expand(*heard.shape[:2], 4, 3)  # the lowest
    digits = training.wanted().argmax(-1) - 1
    for row, tokens in zip(speech.rows, tokenize_corpus(speech.corpus, tokenizer, "cpu"), strict=True):
        own = token_digits(torch.from_numpy(tokens.astype(np.int64)), tokenizer.config)
        expected = torch.full_like(own, -1) if row.source == "real" else own
        assert torch.equal(digits[row.start : row.start + row.tokens].float(), expected)


def test_a_tokenizer_is_trained_on_with_states_and_pitch(corpus, whisper, given, tmp_path):
    out, sizes = tmp_path / "on.safetensors", "model=" + json.dumps(read_metadata(given)["config"])
    places = ["--corpus", str(corpus), "--speakers", str(corpus / "speakers.npz"), "--whisper", str(whisper)]
    settings = [
        "minutes=null",
        "steps=2",
        "tokens_per_batch=100",
        "pitch_weight=1",
        "state_weight=1",
        "perturbation=0.7",
    ]
    train_tokenizer.main([*COMMON, *places, "--resume", str(given), "--out", str(out), *settings, "clean=0.3", sizes])
    assert read_metadata(out)["resumed"] is True
    before, after = load_network(given, "speech_tokenizer"), load_network(out, "speech_tokenizer")
    assert not torch.equal(before.digits.weight, after.digits.weight)
    first = json.loads(out.with_suffix(".log.jsonl").read_text().splitlines()[0])
    assert min(first[name] for name in ("ctc", "mel", "pitch", "states")) > 0


def test_an_encoder_is_trained_on_and_keeps_the_tokens_of_clean_speech(corpus, whisper, given, tmp_path):
    out = tmp_path / "encoder.safetensors"
    settings = ["minutes=null", "steps=8", "tokens_per_batch=100", "clean=1.0", "ctc_weight=0.0"]
    places = ["--corpus", str(corpus), "--tokenizer", str(given), "--whisper", str(whisper), "--out", str(out)]
    train_encoder.main([*COMMON, *places, *settings])
    before, after = load_network(given, "speech_tokenizer"), load_network(out, "speech_tokenizer")
    assert not torch.equal(before.digits.weight, after.digits.weight)
    about = read_metadata(out)
    assert about["steps"] == 8 and about["resumed"] is True
    assert about["measured"]["bulk_trained_equal_digits_percent"] > 85
    assert about["measured"]["new_given_phone_errors_percent"] >= 0
