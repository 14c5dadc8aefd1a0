"""`mamtra evaluate openai:URL` on this package's own server."""

from __future__ import annotations

import httpx2
import numpy as np
import pytest

from mamtra.audio.io import read_audio
from mamtra.errors import MamTraError
from mamtra.evaluate import evaluate
from mamtra.evaluate.adapters.open import AdapterOptions, open_adapter
from mamtra.serve import speaker


def transcribe(samples, rate):
    return "hello there"


transcribe.about = {"asr": "stand-in"}


def test_a_server_of_ours_is_a_system(base, tmp_path, monkeypatch):
    monkeypatch.setattr(speaker.secrets, "randbelow", lambda _: 3)  # the interface has no seed of its own
    (tmp_path / "set.txt").write_text("Hello there.\nHow are you?\n")
    scores = evaluate(
        f"openai:{base}/v1", tmp_path / "set.txt", whisper=transcribe, output=tmp_path / "x.jsonl", voice="tiny",
        model="tts-1", sounds=tmp_path / "kept",
    )  # fmt: skip
    assert scores.figures["wer_english"]["utterances"] == 2 and scores.summary()["without_sound"] == 0
    kept = sorted((tmp_path / "kept").iterdir())
    asked = {"model": "tts-1", "voice": "tiny", "input": "Hello there.", "response_format": "pcm"}
    answer = httpx2.post(f"{base}/v1/audio/speech", json=asked, timeout=300)
    samples, rate = read_audio(kept[0])
    assert len(kept) == 2 and rate == 24000
    assert np.abs(samples - np.frombuffer(answer.content, "<i2") / 32768).max() < 1e-3


def test_what_our_server_refuses(base):
    for options, text, message in (
        ({"voice": "nobody"}, "Hello.", "There is no voice 'nobody'"),
        ({"voice": "tiny"}, "", "HTTP 4"),
    ):
        with pytest.raises(MamTraError, match=message):
            open_adapter(f"openai:{base}/v1", AdapterOptions(**options)).speak(text, None, None)
    with pytest.raises(MamTraError, match="does the URL end with /v1"):
        open_adapter(f"openai:{base}", AdapterOptions(voice="tiny")).speak("Hello.", None, None)
