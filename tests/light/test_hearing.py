"""Cloning with ONNX Runtime against torch: features, speech tokens, embeddings, and the verbs without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mamtra
from mamtra.audio import features as theirs
from mamtra.checkpoints.find import find_model
from mamtra.errors import MamTraError
from mamtra.light import features as ours
from mamtra.light.model import LightModel
from mamtra.synthesis.cloning import clone_voice
from mamtra.synthesis.model import Model
from tests.factories import reference, tiny_model
from tests.light.test_light_model import run


def noise(count: int) -> np.ndarray:
    swell = np.abs(np.sin(np.arange(count) / 3000))
    return (np.random.default_rng(0).standard_normal(count) * 0.1 * swell).astype(np.float32)


@pytest.mark.parametrize(("name", "about"), [("mel_24k", ()), ("whisper_log_mel", (80,)), ("kaldi_fbank_80", ())])
def test_features(name: str, about: tuple[int, ...]) -> None:
    for count in (16000, 32123):
        wave = noise(count)
        expected = getattr(theirs, name)(torch.from_numpy(wave)[None], *about)[0].numpy()
        found = getattr(ours, name)(wave, *about)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_tokens_and_embeddings_of_the_embedded_voice() -> None:
    """For lengths that end within a token, and within, at the end of and after a segment of the speaker encoder's context."""
    model, light = Model(find_model()), LightModel(find_model(), threads=1)
    for count in (16000, 32003, 32400, 51111):
        wave = noise(count)
        assert np.array_equal(light.hearing.tokenize(wave), model.hearing.tokenize(wave))
        fbanks = model.hearing.fbank(wave)[None] + np.arange(2, dtype=np.float32)[:, None, None]
        np.testing.assert_allclose(light.hearing.embed(fbanks), model.hearing.embed(fbanks), atol=1e-5)


def test_a_clone_is_that_of_torch(tmp_path: Path) -> None:
    path, directory = reference(tmp_path / "me.wav", 6.0), tiny_model(tmp_path / "m")
    expected, found = (clone_voice(path, kind(directory), "hello there") for kind in (Model, LightModel))
    assert isinstance(found.prompt_mel, np.ndarray) and found.advice == expected.advice
    assert np.array_equal(found.prompt_text, expected.prompt_text)
    assert np.array_equal(found.prompt_speech, expected.prompt_speech)
    np.testing.assert_allclose(found.prompt_mel, expected.prompt_mel, atol=2e-3)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-4)


def test_clones_and_converts_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAMTRA_HOME", str(tmp_path / "home"))
    model, wave = str(tiny_model(tmp_path / "m")), str(reference(tmp_path / "me.wav", 3.0))
    said = run("say", "hello", "--voice", wave, "--model", model, "-o", str(tmp_path / "a.wav"))
    added = run("voices", "add", "me", wave, "--text", "hello there", "--model", model)
    named = run("say", "hello", "--voice", "me", "--model", model, "-o", str(tmp_path / "b.wav"))
    converted = run("convert-voice", wave, "--model", model, "-o", str(tmp_path / "c.wav"))
    for ended in (said, added, named, converted):
        assert ended.returncode == 0, ended.stderr
    assert "Advice: " in said.stderr
    assert all((tmp_path / f"{name}.wav").stat().st_size > 1000 for name in "abc")


def test_a_model_that_cannot_listen(tmp_path: Path) -> None:
    tts = mamtra.load(tiny_model(tmp_path / "m"), runtime="onnx")
    del tts.model.config["speaker_encoder"]
    with pytest.raises(MamTraError, match="has no speaker encoder that ONNX Runtime can be given"):
        tts.clone(reference(tmp_path / "me.wav", 3.0))
