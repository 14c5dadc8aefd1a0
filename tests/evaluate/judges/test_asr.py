"""Whisper as a transcriber; where its package is missing, the sentence that tells so."""

import sys
import types

import numpy as np
import pytest

from mamtra.errors import MamTraError
from mamtra.evaluate.judges import asr as transcribe


class Engine:
    """Stands in for faster-whisper's model: says how long the sound was."""

    def __init__(self, source, **options):
        if source == "nowhere":
            raise RuntimeError("no such model")
        self.options = options

    def transcribe(self, wave, **options):
        assert wave.dtype == np.float32 and options["language"] == "en" and options["beam_size"] == 5
        return [types.SimpleNamespace(text=" part"), types.SimpleNamespace(text=f" {len(wave)}")], None


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", types.SimpleNamespace(WhisperModel=Engine))
    monkeypatch.setattr(transcribe.metadata, "version", lambda name: "1.2")


def test_sound_of_any_rate_reaches_whisper_at_16_khz(engine, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    whisper = transcribe.FasterWhisper(tmp_path)
    assert whisper(np.zeros(24000, np.float32), 24000) == "part 16000"
    assert whisper.about["asr"] == f"{tmp_path.name}, faster-whisper 1.2, beam 5, float32"
    assert len(whisper.about["asr_sha256"]) == 16
    assert "asr_sha256" not in transcribe.FasterWhisper("base").about


def test_what_is_no_whisper(engine, tmp_path):
    with pytest.raises(MamTraError, match=r"neither model\.bin"):
        transcribe.FasterWhisper(tmp_path)
    with pytest.raises(MamTraError, match="no Whisper model 'nowhere'"):
        transcribe.FasterWhisper("nowhere")


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MamTraError, match=r"needs faster-whisper; pip install 'mamtra\[eval\]'"):
        transcribe.FasterWhisper("base")
