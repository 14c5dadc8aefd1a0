"""Reading sound files of any kind and writing them without ever leaving half a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from mamtra.audio.formats import encode
from mamtra.errors import MamTraError
from mamtra.runtime.files import check_destination, write_bytes

SUFFIXES = {
    ".wav": "wav",
    ".flac": "flac",
    ".opus": "opus",
    ".ogg": "opus",
    ".mp3": "mp3",
    ".aac": "aac",
    ".pcm": "pcm",
    ".raw": "pcm",
}


def resample(samples: np.ndarray, source: int, target: int) -> np.ndarray:
    """Resample (T,) or (T, channels) float32 samples from `source` to `target` Hz with soxr's high quality."""
    if source == target:
        return samples
    return soxr.resample(samples, source, target).astype(np.float32, copy=False)


def read_audio(path: str | os.PathLike, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Read a sound file as one channel.

    Args:
        path: any file that libsndfile reads (wav, flac, ogg, opus, mp3, aiff ...).
        sample_rate: resample to this rate in Hz; `None` keeps the file's own.

    Returns:
        float32 samples (T,), channels averaged, and their rate in Hz.

    Raises:
        MamTraError: the file is missing, is not a sound file, is empty or holds values that are not numbers.
    """
    path = Path(path)
    if path.is_dir():
        raise MamTraError(f"{path} is a folder, not a sound file.")
    if not path.exists():
        raise MamTraError(f"There is no sound file {path}.")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise MamTraError(f"{path} cannot be read as a sound file; convert it to wav, flac, ogg or mp3.") from error
    if len(samples) == 0:
        raise MamTraError(f"{path} holds no sound.")
    if not np.isfinite(samples).all():
        raise MamTraError(f"{path} holds values that are not numbers (NaN or infinity); export it again.")
    mono = samples.mean(axis=1)
    if sample_rate is None or sample_rate == rate:
        return mono, rate
    return resample(mono, rate, sample_rate), sample_rate


def format_of(path: str | os.PathLike, explicit: str | None = None) -> str:
    """Name of the format to write: `explicit` where given, else by the suffix (`-` means wav).

    Raises:
        MamTraError: neither names a known format.
    """
    known = sorted(set(SUFFIXES.values()))
    if explicit is not None:
        chosen = SUFFIXES.get("." + explicit.lower().lstrip("."))
        if chosen is None:
            raise MamTraError(f"Format {explicit!r} is unknown; choose one of {', '.join(known)}.")
        return chosen
    if str(path) == "-":
        return "wav"
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        named = f"The suffix {suffix!r} of {path}" if suffix else f"{path} has no suffix and"
        raise MamTraError(f"{named} names no sound format; use one of {', '.join(SUFFIXES)} or say the format.")
    return SUFFIXES[suffix]


def write_audio(path: str | os.PathLike, samples: np.ndarray, sample_rate: int, fmt: str | None = None) -> None:
    """Write mono samples (T,) in [-1, 1] to `path` (`-`: standard output) in the format of its suffix or `fmt`.

    Raises:
        MamTraError: unknown format, samples that are not numbers, or a place that cannot be written.
    """
    chosen = format_of(path, fmt)
    check_destination(path)
    write_bytes(path, encode(samples, sample_rate, chosen))
