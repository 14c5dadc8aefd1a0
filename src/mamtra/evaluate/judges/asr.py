"""From sound to words: what a judge of speech must offer, and Whisper as one, by either of two libraries."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from mamtra.audio.io import resample
from mamtra.errors import MamTraError
from mamtra.evaluate.judges.whisper_transformers import HUB, TorchWhisper, is_transformers
from mamtra.runtime.files import hash_files

RATE = 16000


class Transcriber(Protocol):
    """Hears words in sound. One that has `many`, see `mamtra.evaluate.judges.whisper_transformers.TorchWhisper`, hears batches.

    Attributes:
        about: model, version and settings; results of transcribers that differ in it cannot be compared.
    """

    about: dict[str, str]

    def __call__(self, samples: np.ndarray, sample_rate: int) -> str:
        """Words in float32 samples (T,) of ``sample_rate`` Hz."""
        ...


def open_transcriber(
    name: str | os.PathLike, threads: int = 2, device: str | torch.device | None = None
) -> Transcriber:
    """A Whisper by its folder or name.

    Args:
        name: a folder of CTranslate2 (model.bin) or of transformers (config.json, safetensors), "hf:NAME" for one of transformers
            on the hub, or a name that faster-whisper fetches.
        threads: of the CPU, for CTranslate2.
        device: for transformers; CTranslate2 stays on the CPU.

    Raises:
        MamTraError: the package is missing, or the model.
    """
    text, folder = os.fspath(name), Path(name).expanduser()
    if text.startswith(HUB) or (is_transformers(folder) and not (folder / "model.bin").is_file()):
        return TorchWhisper(text, device)
    return Whisper(name, threads)


def check_english(texts: Iterable[str]) -> None:
    """Refuse texts in another script: whoever listens for English words hears none.

    Raises:
        MamTraError: more than a tenth of the letters of a text are not Latin.
    """
    for text in texts:
        letters = [c for c in text if c.isalpha()]
        other = sum(not unicodedata.name(c, "").startswith(("LATIN", "FULLWIDTH LATIN")) for c in letters)
        if 10 * other > len(letters):
            shown = text if len(text) <= 40 else text[:40] + "..."
            raise MamTraError(f"{shown!r} is not English text, and the transcriber listens for English words only.")


class Whisper:
    """A CTranslate2 Whisper in faster-whisper: English, beam 5, float32, no context between windows.

    Args:
        model: folder with ``model.bin``, or a name that faster-whisper fetches, such as "base".
        threads: of the CPU.

    Raises:
        MamTraError: faster-whisper is missing, or there is no such model.
    """

    def __init__(self, model: str | os.PathLike, threads: int = 2) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MamTraError("Transcribing needs faster-whisper; pip install 'mamtra[eval]'.") from error
        folder = Path(model).expanduser()
        weights = folder / "model.bin"
        if folder.is_dir() and not weights.is_file():
            raise MamTraError(
                f"{folder} is no Whisper: it has neither model.bin (CTranslate2) nor config.json and safetensors (transformers)."
            )
        source = str(folder) if folder.is_dir() else os.fspath(model)
        try:
            self._model = WhisperModel(source, device="cpu", compute_type="float32", cpu_threads=threads)
        except Exception as error:
            raise MamTraError(
                f"There is no Whisper model {source!r} here or on the hub; give a folder with --whisper DIR, or a size that "
                "faster-whisper fetches, such as base (145 MB)."
            ) from error
        version = metadata.version("faster-whisper")
        self.about = {"asr": f"{Path(source).name}, faster-whisper {version}, beam 5, float32"}
        if weights.is_file():
            self.about["asr_sha256"] = hash_files(weights)[:16]

    def __call__(self, samples: np.ndarray, sample_rate: int) -> str:
        """Words in float32 samples (T,) of ``sample_rate`` Hz."""
        wave = resample(samples, sample_rate, RATE)
        found, _ = self._model.transcribe(wave, language="en", beam_size=5, condition_on_previous_text=False)
        return " ".join(part.text.strip() for part in found)
