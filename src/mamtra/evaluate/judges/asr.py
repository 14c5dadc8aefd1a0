"""ASR: what a transcriber must offer, and Whisper as one, by either of two libraries."""

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
from mamtra.evaluate.judges.whisper_transformers import HUB, TransformersWhisper, is_transformers
from mamtra.runtime.files import hash_files
from mamtra.runtime.optional import need
from mamtra.runtime.printable import printable

RATE = 16000


class Transcriber(Protocol):
    """Turns sound into words; one with `many` and `batch_size` (see `TransformersWhisper`) takes batches.

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
    text, folder = os.fspath(name), Path(os.path.expanduser(name))
    if text.startswith(HUB) or (is_transformers(folder) and not (folder / "model.bin").is_file()):
        return TransformersWhisper(text, device)
    return FasterWhisper(name, threads)


def check_english(texts: Iterable[str]) -> None:
    """Refuse texts in another script, of which an English transcriber finds no word.

    Raises:
        MamTraError: more than a tenth of the letters of a text are not Latin.
    """
    for text in texts:
        letters = [c for c in text if c.isalpha()]
        other = sum(not unicodedata.name(c, "").startswith(("LATIN", "FULLWIDTH LATIN")) for c in letters)
        if 10 * other > len(letters):
            raise MamTraError(
                f"{printable(text, 40)!r} is not English text, and the transcriber knows English words only."
            )


class FasterWhisper:
    """A CTranslate2 Whisper in faster-whisper: English, no context between windows.

    Args:
        model: folder with ``model.bin``, or a name that faster-whisper fetches, such as "base".
        threads: of the CPU.
        precision: of its weights; "int8" is faster.
        beams: of the search.

    Raises:
        MamTraError: faster-whisper is missing, or there is no such model.
    """

    def __init__(self, model: str | os.PathLike, threads: int = 2, precision: str = "float32", beams: int = 5) -> None:
        library = need("faster_whisper", "Transcribing")
        folder = Path(os.path.expanduser(model))
        weights = folder / "model.bin"
        if folder.is_dir() and not weights.is_file():
            raise MamTraError(
                f"{folder} is no Whisper: it has neither model.bin (CTranslate2) nor config.json and safetensors (transformers)."
            )
        source = str(folder) if folder.is_dir() else os.fspath(model)
        try:
            self._model = library.WhisperModel(source, device="cpu", compute_type=precision, cpu_threads=threads)
        except Exception as error:
            raise MamTraError(
                f"There is no Whisper model {source!r} here or on the hub; give a folder with --whisper DIR, or a size that "
                "faster-whisper fetches, such as base (145 MB)."
            ) from error
        version = metadata.version("faster-whisper")
        self._beams, search = beams, f"beam {beams}" if beams > 1 else "greedy"
        self.about = {"asr": f"{Path(source).name}, faster-whisper {version}, {search}, {precision}"}
        if weights.is_file():
            self.about["asr_sha256"] = hash_files(weights)[:16]

    def __call__(self, samples: np.ndarray, sample_rate: int) -> str:
        """Words in float32 samples (T,) of ``sample_rate`` Hz."""
        wave = resample(samples, sample_rate, RATE)
        found, _ = self._model.transcribe(wave, language="en", beam_size=self._beams, condition_on_previous_text=False)
        return " ".join(part.text.strip() for part in found)
