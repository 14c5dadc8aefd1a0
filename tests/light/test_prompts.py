"""The flow behind a prompt, kept in files that may be deleted or damaged at any time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mamtra
from mamtra.light import prompts
from mamtra.light.model import LightModel
from mamtra.tts import TTS
from mamtra.voices.voice import Voice
from tests.factories import tiny_model, tiny_voice


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAMTRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def long_voice() -> Voice:
    """Of which two chunks of the flow are complete."""
    return tiny_voice(tokens=60).to("numpy")


def speak(model: Path) -> list[np.ndarray]:
    """What a new process says with and without a stream."""
    tts, voice = mamtra.load(model, runtime="onnx"), long_voice()
    return [tts.say("hello there", voice).samples, *(chunk.samples for chunk in tts.stream("hello", voice))]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_a_prompt_is_computed_once(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(tmp_path / "m")
    first = speak(model)
    [kept] = folder.glob("*.prompt")
    with monkeypatch.context() as patch:
        patch.setattr(prompts, "_keep", lambda *_: pytest.fail("computed again"))
        assert same(speak(model), first)
    for damaged in (b"", kept.read_bytes()[:-1] + b"?", kept.read_bytes()[:1000]):
        kept.write_bytes(damaged)
        assert same(speak(model), first)
        assert kept.stat().st_size > 10_000
    kept.unlink()
    assert same(speak(model), first) and kept.is_file()
    monkeypatch.setenv("MAMTRA_CACHE", "")
    assert same(speak(model), first)


def test_another_flow_has_another_prompt(tmp_path: Path, folder: Path) -> None:
    model = tiny_model(tmp_path / "m")
    speak(model)
    for changed in (tiny_model(tmp_path / "n", seed=1), tiny_model(tmp_path / "o", "int8")):
        before = len(list(folder.iterdir()))
        speak(changed)
        assert len(list(folder.iterdir())) == before + 1
    TTS(LightModel(model, exact=True)).say("hello", long_voice())  # has no use for it


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAMTRA_CACHE", str(tmp_path / "file"))
    assert len(speak(tiny_model(tmp_path / "m"))[0])


def test_the_oldest_are_deleted(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MOST_BYTES", 1)
    model = tiny_model(tmp_path / "m")
    tts = mamtra.load(model, runtime="onnx")
    for tokens in (30, 40):
        tts.say("hello", tiny_voice(tokens=tokens))
        assert len(list(folder.iterdir())) == 1


def test_the_sentence_sees_itself_and_the_prompt(tmp_path: Path) -> None:
    """With a prompt shorter than a chunk, nothing of it was computed before: as if all were computed at once."""
    flow = LightModel(tiny_model(tmp_path)).flow
    voice, tokens = tiny_voice(tokens=20).to("numpy"), np.arange(60)
    prompt = voice.prompt_speech, voice.prompt_mel, voice.embedding
    stream = flow.stream(*prompt)
    stream.push([])
    np.testing.assert_allclose(stream.whole(tokens), flow.whole(tokens, *prompt), atol=1e-5)
