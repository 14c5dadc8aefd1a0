"""The graph of the vocoder at frame rate against its network, and its excitation in numpy against torch's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import torch
from safetensors.torch import save_file

from mamtra.acoustic.pitch_range import PitchRange
from mamtra.acoustic.receptive_field import near_field
from mamtra.checkpoints.storage import pack, unpack
from mamtra.light.pulse_source import PulseSource
from mamtra.light.random import Generator
from mamtra.light.vocoder import LightVocoder, LightVocoderStream
from mamtra.light.weights import StoredWeights
from tests.acoustic.test_source_filter import build


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The network, and the graphs of its stored weights."""
    vocoder, path = build(), tmp_path_factory.mktemp("vocoder") / "vocoder.safetensors"
    stored = pack(vocoder.state_dict(), "int8")
    save_file(stored, path)
    vocoder.load_state_dict(unpack(stored))
    return vocoder, LightVocoder(StoredWeights(path), vocoder.config.model_dump())


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((80, 60)).astype(np.float32) - 5


@torch.inference_mode()
def test_samples(pair, mel):
    vocoder, light = pair
    source = light.source(light.f0(mel), Generator(1).normal(60 * 480))
    expected = vocoder.decode(torch.from_numpy(mel[None]), torch.from_numpy(source[None]))[0].numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(light.wave(mel, source), expected, atol=2e-6)


def test_excitation(pair):
    rng = np.random.default_rng(0)
    f0 = np.where(rng.random(50) < 0.8, rng.uniform(80, 300, 50), 0).astype(np.float32)
    noise = rng.standard_normal(50 * 480).astype(np.float32)
    source: PulseSource = pair[1].source
    given = torch.from_numpy(f0[None]), torch.from_numpy(noise[None, :, None])
    expected = pair[0].source(*given)[0].numpy()
    found, middle = source(f0, noise), source.phase_after(f0[:21])
    assert expected[0].max() > 50
    np.testing.assert_allclose(found, expected, atol=0.3)
    np.testing.assert_allclose(middle, pair[0].m_source.phase_after(given[0][:, :21])[0, :, 0].numpy(), atol=1e-5)
    rest = source(f0[21:], noise[21 * 480 :], middle)
    np.testing.assert_allclose(rest, found[:, 21 * 480 :], atol=0.3)


def test_a_stream_is_the_whole(pair, mel):
    whole, stream = pair[1].whole(mel, 5), LightVocoderStream(pair[1], 5)
    pieces = [stream.push(mel[:, :7]), stream.push(mel[:, 7:40]), stream.push(mel[:, 40:], final=True)]
    assert len(pieces[0]) == 0 and len(pieces[1]) == (40 - pair[1].reach[1]) * 480
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-3)


def test_the_range_of_the_pitch_is_that_of_torch(pair, mel):
    wide = PitchRange(pair[1].f0(mel).mean(), 2.0)
    noise = torch.from_numpy(Generator(5).normal(mel.shape[1] * 480))[None, :, None]
    expected = pair[0].inference(torch.from_numpy(mel)[None], noise=noise, pitch_range=wide)[0].numpy()
    found, stream = pair[1].whole(mel, 5, wide), LightVocoderStream(pair[1], 5, wide)
    pieces = [stream.push(mel[:, :40]), stream.push(mel[:, 40:], final=True)]
    np.testing.assert_allclose(np.concatenate(pieces), found, atol=1e-3)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - pair[1].whole(mel, 5)).max() > 1e-2


def test_pieces_are_the_whole(pair, mel):
    light = pair[1]
    source = light.source(light.f0(mel), Generator(1).normal(60 * 480))
    np.testing.assert_allclose(light.wave(mel, source, 20, 33), light.wave(mel, source)[20 * 480 : 33 * 480], atol=1e-6)


def test_a_stream_waits_for_fewer_frames_than_a_sample_depends_on(pair):
    config = pair[0].config
    assert near_field(config) == near_field(SimpleNamespace(**config.model_dump())) < pair[1].reach
