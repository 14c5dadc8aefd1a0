"""Read sound files of any kind; write them whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import numpy as np

from mamtra.audio.decode import decode
from mamtra.audio.formats import encode
from mamtra.errors import MamTraError
from mamtra.runtime.files import check_destination, write_bytes
from mamtra.runtime.printable import printable

MAX_SECONDS = 3600.0
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
    import soxr

    return soxr.resample(samples, source, target).astype(np.float32, copy=False)


def read_audio(
    path: str | os.PathLike, sample_rate: int | None = None, *, max_seconds: float = MAX_SECONDS
) -> tuple[np.ndarray, int]:
    """Read a sound file as one channel.

    Args:
        path: any file that libsndfile reads (wav, flac, ogg, opus, mp3, aiff ...), and m4a, mp4, aac, webm, mkv, mov, amr or wma
            with PyAV.
        sample_rate: resample to this rate in Hz; `None` keeps the file's own.
        max_seconds: refuse longer files.

    Returns:
        float32 samples (T,), channels averaged, and their rate in Hz.

    Raises:
        MamTraError: the file is missing, is not a sound file, is empty, too long, or holds values that are not samples.
    """
    path = Path(path)
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:  # missing, or a name that no file can have
        if re.match(r"[a-z]{2,}:/", str(path)):
            raise MamTraError(f"{printable(str(path), 200)} is an address; download the sound first.") from error
        raise MamTraError(f"There is no sound file {printable(str(path), 200)}.") from error
    if stat.S_ISDIR(kind):
        raise MamTraError(f"{path} is a folder, not a sound file.")
    if not stat.S_ISREG(kind):
        raise MamTraError(f"{path} is a pipe or a device, not a sound file; save the sound to a file first.")
    return _at_rate(*decode(path, str(path), max_seconds), sample_rate)


def decode_audio(
    content: bytes, name: str, sample_rate: int | None = None, *, max_seconds: float = MAX_SECONDS
) -> tuple[np.ndarray, int]:
    """`read_audio` for the content of a file; `name` stands for it in messages."""
    return _at_rate(*decode(content, name, max_seconds), sample_rate)


def _at_rate(mono: np.ndarray, rate: int, wanted: int | None) -> tuple[np.ndarray, int]:
    return (mono, rate) if wanted is None else (resample(mono, rate, wanted), wanted)


def format_of(path: str | os.PathLike, explicit: str | None = None) -> str:
    """Name of the format to write: `explicit` where given, else by the suffix (`-` means wav).

    Raises:
        MamTraError: neither names a known format, or they name different ones.
    """
    suffix = Path(path).suffix.lower()
    if explicit is not None:
        chosen = SUFFIXES.get("." + explicit.lower().lstrip("."))
        if chosen is None:
            raise MamTraError(
                f"Format {explicit!r} is unknown; choose one of {', '.join(sorted(set(SUFFIXES.values())))}."
            )
        if SUFFIXES.get(suffix, chosen) != chosen:
            raise MamTraError(f"Format {explicit} does not go with {path}; leave one of them out or change the suffix.")
        return chosen
    if str(path) == "-":
        return "wav"
    if not str(path):
        raise MamTraError("The name of the file is empty.")
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
