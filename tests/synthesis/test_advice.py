"""Advice on recordings, and what they do to an embedding of the embedded model."""

from __future__ import annotations

import numpy as np
import pytest

from mamtra.audio.io import read_audio, resample
from mamtra.checkpoints.cosyvoice.files import SECOND
from mamtra.checkpoints.find import find_model
from mamtra.evaluate.sets import read_set
from mamtra.synthesis import cloning
from mamtra.synthesis import reference as references
from mamtra.synthesis.advice import advise
from mamtra.synthesis.model import Model
from mamtra.synthesis.speaker_change import speaker_change
from tests.factories import reference, tiny_model

RATE = 16000
TEXT = "a" * 60


def full_band(seconds: float = 6.0, rate: int = RATE) -> np.ndarray:
    """Noise of the full band that comes and goes four times a second, 57 dB over a constant background."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    sound = rng.normal(0, 0.1, len(time)) * np.clip(np.sin(4 * np.pi * time), 0, 1)
    return (sound + rng.normal(0, 1e-4, len(time))).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_a_good_recording_needs_no_advice(rate):
    assert advise(full_band(rate=rate), rate, TEXT) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w + np.random.default_rng(1).normal(0, 0.01, len(w)), "above the background"),
        (lambda w: np.random.default_rng(1).normal(0, 0.1, len(w)), "No speech stands out"),
        (lambda w: resample(resample(w, RATE, 8000), 8000, RATE), "no sound above about 4 kHz"),
        (lambda w: np.concatenate([w[:48000], np.zeros(32000, np.float32), w[48000:]]), "a pause of 2."),
        (lambda w: np.round(w * 128) / 128, "only 8 bits"),
        (lambda w: np.clip(20 * w, -1, 1), "clipped"),
        (lambda w: w / 100, "very quiet"),
        (lambda w: w[:32000], "holds 2.0 s"),
    ],
)
def test_each_fault_has_its_sentence(change, words):
    given = advise(change(full_band()).astype(np.float32), RATE, "a" * 30)
    assert sum(words in line for line in given) == 1 and all(line.endswith(".") for line in given)


@pytest.fixture(scope="module")
def mini():
    return Model(find_model("mini"))


@pytest.fixture(scope="module")
def speech():
    """The voice of the sample set."""
    lines = read_set("sample").lines[3:5]
    return np.concatenate([read_audio(line.ground_truth, RATE)[0] for line in lines])


def bank(model: Model, wave: np.ndarray) -> np.ndarray:
    return model.hearing.fbank(cloning.prepare_reference(wave.astype(np.float32), RATE))


def likeness(model: Model, *fbanks: np.ndarray) -> float:
    one, other = (references.embed_speaker(fbank, model.hearing) for fbank in fbanks)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_level_and_gaps_leave_the_embedding_as_it_is(mini, speech):
    middle = len(speech) // 2
    assert likeness(mini, bank(mini, speech), bank(mini, speech / 10)) > 0.99
    for seconds in (2, 10):
        gap = np.insert(speech, middle, np.zeros(seconds * RATE))
        assert likeness(mini, bank(mini, speech), bank(mini, gap)) > 0.95


@pytest.mark.parametrize(("decibels", "kept"), [(-56, 0.97), (-45, 0.92)])
def test_noise_hardly_changes_the_embedding(mini, speech, decibels, kept):
    noise = np.random.default_rng(0).normal(0, 10 ** (decibels / 20), len(speech))
    assert likeness(mini, bank(mini, speech), bank(mini, speech + noise)) > kept


def test_another_speaker_is_noticed(mini, speech):
    assert speaker_change(bank(mini, speech), mini.hearing.embed)[0] > 0.6
    low = resample(speech, 3, 4)  # slower and a fourth lower: another person
    cosine, frame = speaker_change(bank(mini, np.concatenate([speech, low])), mini.hearing.embed)
    assert cosine < speaker_change(bank(mini, speech), mini.hearing.embed)[0] and frame > 0
    assert speaker_change(bank(mini, speech[: 4 * RATE]), mini.hearing.embed) == (1.0, 0)


def test_cosyvoice_gets_the_recording_as_it_is(tmp_path, monkeypatch):
    model = Model(tiny_model(tmp_path / "tiny"))
    path = reference(tmp_path / "me.wav", 3.0)
    plain = cloning.clone_voice(path, model)
    monkeypatch.setitem(model.config, "voice_space", SECOND.voice_space)
    original = cloning.clone_voice(path, model)
    wave, rate = cloning.check_reference(path)
    _, mel, embedding, _ = references.encode_reference(model.hearing, wave, rate, original=False, advise=False)
    assert np.array_equal(original.prompt_mel, mel) and np.array_equal(original.embedding, embedding)
    assert not np.array_equal(plain.prompt_mel, mel) and not np.array_equal(plain.embedding, embedding)
