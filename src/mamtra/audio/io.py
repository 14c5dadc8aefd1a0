"""Read sound files of any kind; write them whole or not at all."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import numpy as np
import soxr

from mamtra.audio.decode import decode
from mamtra.audio.formats import encode
from mamtra.errors import MamTraError

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
    return soxr.resample(samples, source, target).astype(np.float32, copy=False)


def read_audio(
    path: str | os.PathLike, sample_rate: int | None = None, *, max_seconds: float = MAX_SECONDS
) -> tuple[np.ndarray, int]:
    """Read a sound file as one channel.

    Args:
        path: any file that libsndfile reads (wav, flac, ogg, opus, mp3, aiff ...), and m4a, mp4, aac or webm with PyAV.
        sample_rate: resample to this rate in Hz; `None` keeps the file's own.
        max_seconds: refuse longer files.

    Returns:
        float32 samples (T,), channels averaged, and their rate in Hz.

    Raises:
        MamTraError: the file is missing, is not a sound file, is empty, too long, or holds values that are not samples.
    """
    path = Path(path)
    if path.is_dir():
        raise MamTraError(f"{path} is a folder, not a sound file.")
    if not path.exists():
        raise MamTraError(f"There is no sound file {path}.")
    if not path.is_file():
        raise MamTraError(f"{path} is a pipe or a device, not a sound file; save the sound to a file first.")
    mono, rate = decode(path, max_seconds)
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


def check_destination(path: str | os.PathLike) -> None:
    """Refuse early what could not be written later.

    Raises:
        MamTraError: the path is a folder, or its folder is missing or read-only.
    """
    if str(path) == "-":
        return
    path = Path(path)
    if path.is_dir():
        raise MamTraError(f"{path} is a folder; name a file to write, such as {path / 'speech.wav'}.")
    if not path.parent.is_dir():
        raise MamTraError(f"The folder {path.parent} does not exist; create it first.")
    if not os.access(path.parent, os.W_OK):
        raise MamTraError(f"The folder {path.parent} is read-only; choose another place for the file.")


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path` (`-`: standard output) through a file beside it, so that `path` is whole or untouched.

    Raises:
        MamTraError: the place cannot be written.
    """
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    check_destination(path)
    path = Path(path).resolve()  # through links, so that a link stays one
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written into, not replaced
            path.write_bytes(data)
            return
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        raise MamTraError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}.") from error
    finally:
        partial.unlink(missing_ok=True)


def write_audio(path: str | os.PathLike, samples: np.ndarray, sample_rate: int, fmt: str | None = None) -> None:
    """Write mono samples (T,) in [-1, 1] to `path` (`-`: standard output) in the format of its suffix or `fmt`.

    Raises:
        MamTraError: unknown format, samples that are not numbers, or a place that cannot be written.
    """
    chosen = format_of(path, fmt)
    check_destination(path)
    write_bytes(path, encode(samples, sample_rate, chosen))
