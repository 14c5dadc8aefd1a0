import numpy as np
import pytest
import torch
from corpus import Corpus, ShardWriter
from listening import usual_pitch, whisper_states

from tests.factories import speech_like


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


def test_states_are_standardised_and_in_place(corpus, whisper):
    states = whisper_states(whisper, corpus, "cpu", batch=1)
    assert states.shape == (200, 8)
    assert torch.allclose(states.float().mean(0), torch.zeros(8), atol=0.02)
    assert torch.allclose(states.float().std(0), torch.ones(8), atol=0.02)
    assert torch.allclose(states, whisper_states(whisper, corpus, "cpu", batch=2), atol=0.02)


def test_the_usual_pitch_leaves_only_what_moves(corpus):
    usual = usual_pitch(corpus)
    assert torch.allclose(usual, torch.tensor([100.0, 200.0]).log2(), atol=1e-3)
