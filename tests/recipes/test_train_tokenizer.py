import json
from pathlib import Path

import numpy as np
import pytest
import torch
import train_tokenizer
from corpus import Corpus, ShardWriter
from listening import hear, usual_pitch, whisper_states
from trained import load_network, read_metadata

from tests.factories import speech_like

COMMON = ("--config", str(Path(train_tokenizer.__file__).with_name("mini.yaml")), "--device", "cpu")


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
    sizes = "model={width: 8, layers: 1, heads: 1, inner: 4, narrow: 16, kernel: 3, expansion: 2, levels: 3, dims: 4}"
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


def test_what_is_heard_has_no_mean_and_no_usual_pitch(corpus):
    loaded = Corpus([corpus], "cpu")
    heard = hear(loaded, torch.randn(600, 8).half() + 3)
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
