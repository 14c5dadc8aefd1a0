"""The speech tokenizers and the speaker encoder of CosyVoice 2 and 3, which are published as ONNX, run by onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mamtra.audio.features import whisper_log_mel_128
from mamtra.errors import MamTraError


def open_session(path: str | os.PathLike) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        MamTraError: the file is missing or damaged, or onnxruntime is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise MamTraError(f"{path} is missing, which reads recordings, for a voice or a corpus; get the model again.")
    try:
        import onnxruntime
    except ImportError as error:
        raise MamTraError(
            f"{path} is run by onnxruntime, which is not installed; run `pip install 'mamtra[cosyvoice]'`."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # the library has an exception class for each kind of damage
        raise MamTraError(f"{path} is damaged and cannot be read as ONNX; get the model again.") from error


class _OnnxNetwork(nn.Module):
    """One network in a file.

    Raises:
        MamTraError: see `open_session`, or the network has other inputs.
    """

    what, inputs = "", ()

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__()
        self._session = open_session(path)
        try:
            self._names = [entry.name for entry in self._session.get_inputs()]
        except UnicodeDecodeError as error:
            raise MamTraError(f"{path} is damaged and cannot be read as ONNX; get the model again.") from error
        if len(self._names) != len(self.inputs):
            raise MamTraError(f"{path} is not CosyVoice's {self.what}: it should take {' and '.join(self.inputs)}.")

    def _run(self, *values: np.ndarray) -> Tensor:
        result = self._session.run(None, dict(zip(self._names, values, strict=True)))[0]
        return torch.from_numpy(np.asarray(result))


class OnnxSpeechTokenizer(_OnnxNetwork):
    """The speech tokenizer of CosyVoice 2 (v2) or 3 (v3): Whisper-style log-mel (1, 128, T) and its length to tokens at 25 Hz."""

    what, inputs = "speech tokenizer", ("a mel", "its length")

    def tokenize(self, wave: Tensor) -> Tensor:
        """Map one utterance (T,) float in [-1, 1] at 16 kHz, at most 30 s, to tokens (about T / 640,) int64 on the CPU."""
        mel = whisper_log_mel_128(wave[None]).cpu().numpy()
        return self._run(mel, np.array([mel.shape[2]], dtype=np.int32)).long().flatten()


class OnnxSpeakerEncoder(_OnnxNetwork):
    """CosyVoice's speaker encoder: Kaldi filter bank minus its mean to a speaker embedding."""

    what, inputs = "speaker encoder", ("a filter bank alone",)

    def forward(self, fbank: Tensor) -> Tensor:
        """Map fbank (1, frames, 80) float32 to (1, embedding size) float32 on the CPU."""
        return self._run(fbank.float().cpu().numpy()).float().reshape(fbank.shape[0], -1)
