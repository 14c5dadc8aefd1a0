"""Judges beside the ASR: speaker similarity and predicted naturalness."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mamtra.audio.features import kaldi_fbank_80
from mamtra.audio.io import read_audio, resample
from mamtra.checkpoints.find import find_model
from mamtra.runtime.device import pick_device
from mamtra.runtime.optional import need
from mamtra.synthesis.open_model import open_model

RATE = 16000


class SpeakerEncoder(Protocol):
    """Turns speech into a speaker embedding.

    Attributes:
        about: for the fingerprint.
    """

    about: str

    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector of samples (T,)."""
        ...


class ModelSpeakerEncoder:
    """The speaker encoder of a model directory: our small CAM++, or CosyVoice 2's own campplus.onnx.

    Similarities by different encoders are different figures; the fingerprint names the encoder.
    """

    def __init__(self, model: str | None = None, device: str | torch.device = "cpu") -> None:
        self._device = pick_device(device)
        opened = open_model(find_model(model), self._device, torch.float32)
        self._encoder = opened.speaker_encoder
        self.about = f"speaker encoder of {opened.name}"

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (192,)."""
        wave = torch.from_numpy(np.ascontiguousarray(resample(samples, sample_rate, RATE))).to(self._device)
        bank = kaldi_fbank_80(wave)
        found = self._encoder((bank - bank.mean(dim=0, keepdim=True))[None])[0].cpu().numpy()
        return found / max(float(np.linalg.norm(found)), 1e-9)


class DistilMOS:
    """Predicted naturalness, 1 to 5 (DistilMOS, arXiv 2502.05356). Its package brings the weights.

    The package rates windows of 7.68 s, evenly spread, and takes the mean; here windows of several sounds form batches.

    Raises:
        MamTraError: the package is missing.
    """

    WINDOW, HOP, BATCH = 122_880, 16_000, 32

    def __init__(self, device: str | torch.device = "cpu") -> None:
        with _without_torchaudio():
            distillmos = need("distillmos", "DistilMOS", "--no-deps distillmos xls-r-sqa")
        self._device = pick_device(device)
        model = distillmos.ConvTransformerSQAModel(segmenting_in_forward=False)
        self._model: Any = model.eval().to(self._device)
        self.about = f"distillmos {metadata.version('distillmos')}"

    def __call__(self, samples: np.ndarray, sample_rate: int) -> float:
        """Rating of samples (T,)."""
        return self.many([(samples, sample_rate)])[0]

    @torch.inference_mode()
    def many(self, sounds: Sequence[tuple[np.ndarray, int]]) -> list[float]:
        """Ratings of some sounds, samples (T,) and their rate."""
        if not sounds:
            return []
        cut = [self._windows(resample(samples, rate, RATE)) for samples, rate in sounds]
        every = np.concatenate(cut)
        ratings = [
            self._model(torch.from_numpy(every[at : at + self.BATCH]).to(self._device)).flatten()
            for at in range(0, len(every), self.BATCH)
        ]
        parts = torch.cat(ratings).split([len(windows) for windows in cut])
        return [float(part.mean()) for part in parts]

    def _windows(self, wave: np.ndarray) -> np.ndarray:
        """(n, WINDOW) float32 of a wave (T,), padded with silence where it is shorter."""
        over = max(0, len(wave) - self.WINDOW)
        wave = np.pad(wave.astype(np.float32, copy=False), (0, max(0, self.WINDOW - len(wave))))
        starts = np.linspace(0, 1, -(-over // self.HOP) + 1) * over
        return np.stack([wave[int(start) :][: self.WINDOW] for start in starts])


@contextmanager
def _without_torchaudio() -> Iterator[None]:
    """Stands in for torchaudio, which a part of DistilMOS imports that is not used here, while the package is imported."""
    names = ("torchaudio", "torchaudio.transforms")
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    if not before:
        package, inner = (types.ModuleType(name) for name in names)
        inner.MFCC = inner.Resample = object  # type: ignore[attr-defined]
        package.transforms = inner  # type: ignore[attr-defined]
        sys.modules.update(zip(names, (package, inner), strict=True))
    try:
        yield
    finally:
        if not before:
            for name in names:
                del sys.modules[name]


def embed_file(encoder: SpeakerEncoder, path: Path, embeddings: dict[Path, np.ndarray]) -> np.ndarray:
    """Embedding of a recording, computed once."""
    if path not in embeddings:
        embeddings[path] = encoder(*read_audio(path))
    return embeddings[path]
