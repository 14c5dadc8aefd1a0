"""Judges beside the transcriber: how alike two voices are, how natural speech sounds."""

from __future__ import annotations

import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mamtra.audio.features import kaldi_fbank_80
from mamtra.audio.io import resample
from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.open_model import open_model
from mamtra.device import pick_device
from mamtra.errors import MamTraError

RATE = 16000


class Voices(Protocol):
    """Embeds voices.

    Attributes:
        about: for the stamp.
    """

    about: str

    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector of the voice in samples (T,)."""
        ...


class ModelVoices:
    """The speaker encoder of a model directory: our small CAM++, or CosyVoice 2's own campplus.onnx.

    Similarities by different encoders are different figures; the stamp names the encoder.
    """

    def __init__(self, model: str | None = None) -> None:
        opened = open_model(find_model(model), pick_device("cpu"), torch.float32)
        self._encoder = opened.speaker_encoder
        self.about = f"speaker encoder of {opened.name}"

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (192,)."""
        wave = torch.from_numpy(np.ascontiguousarray(resample(samples, sample_rate, RATE)))
        bank = kaldi_fbank_80(wave)
        found = self._encoder((bank - bank.mean(dim=0, keepdim=True))[None])[0].numpy()
        return found / max(float(np.linalg.norm(found)), 1e-9)


class DistilMOS:
    """Predicted naturalness, 1 to 5 (DistilMOS, arXiv 2502.05356). Its package brings the weights.

    Raises:
        MamTraError: the package is missing.
    """

    def __init__(self) -> None:
        if "torchaudio" not in sys.modules:  # imported by a part of the package that nothing here uses
            stand_in, inner = types.ModuleType("torchaudio"), types.ModuleType("torchaudio.transforms")
            inner.MFCC = inner.Resample = object  # type: ignore[attr-defined]
            stand_in.transforms = inner  # type: ignore[attr-defined]
            sys.modules.update({"torchaudio": stand_in, "torchaudio.transforms": inner})
        try:
            import distillmos
        except ImportError as error:
            raise MamTraError("--mos needs DistilMOS; pip install --no-deps distillmos xls-r-sqa.") from error
        self._model: Any = distillmos.ConvTransformerSQAModel().eval()
        self.about = f"distillmos {metadata.version('distillmos')}"

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray, sample_rate: int) -> float:
        """Rating of samples (T,)."""
        wave = torch.from_numpy(np.ascontiguousarray(resample(samples, sample_rate, RATE), dtype=np.float32))
        return float(self._model(wave[None])[0])


def embed_file(voices: Voices, path: Path, known: dict[Path, np.ndarray]) -> np.ndarray:
    """Vector of a recording; each is embedded once."""
    if path not in known:
        from mamtra.audio.io import read_audio

        known[path] = voices(*read_audio(path))
    return known[path]
