"""Sound files to mono samples, block by block, so that neither a false header nor a compressed bomb fills the memory."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile

from mamtra.errors import MamTraError

CONTAINERS = (".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".mov", ".3gp", ".amr", ".wma")
"""Suffixes of what libsndfile cannot read and PyAV can."""
HEADERLESS = (".raw", ".pcm")
MIN_RATE, MAX_RATE, MAX_CHANNELS = 1000, 768_000, 64
LOUDEST = 2.0**31
"""Beyond any scale of integers that a float file might hold by mistake."""
_BLOCK = 1 << 20
_UNKNOWN = 1 << 62  # libsndfile's frame count of a flac stream without a length, in which it cannot seek


def decode(path: Path, max_seconds: float) -> tuple[np.ndarray, int]:
    """Decode a file.

    Args:
        path: a sound file.
        max_seconds: refuse longer ones, by the header before decoding and by what is decoded.

    Returns:
        float32 samples (T,), channels averaged, and their rate in Hz.

    Raises:
        MamTraError: it is not a sound file, is empty, too long, or holds values that are not samples.
    """
    if path.suffix.lower() in HEADERLESS:
        raise MamTraError(f"{path} holds samples without a header; convert it to wav or flac.")
    blocks = _pyav_blocks if path.suffix.lower() in CONTAINERS else _sndfile_blocks
    mono: list[np.ndarray] = []
    rate = count = 0
    for rate, block in blocks(path, max_seconds):
        if not np.isfinite(block).all():
            raise MamTraError(f"{path} holds values that are not numbers (NaN or infinity); export it again.")
        if np.abs(block).max(initial=0) > LOUDEST:
            raise MamTraError(f"{path} holds samples far outside -1 to 1; export it again.")
        mono.append(block.mean(axis=1))
        count += len(block)
        _check_length(path, count / rate, max_seconds)
    if count == 0:
        raise MamTraError(f"{path} holds no sound.")
    return np.concatenate(mono), rate


def _check_header(path: Path, rate: int, channels: int, seconds: float, max_seconds: float) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise MamTraError(f"{path} has a sample rate of {rate} Hz; convert it to one of {MIN_RATE} to {MAX_RATE} Hz.")
    if not 1 <= channels <= MAX_CHANNELS:
        raise MamTraError(f"{path} has {channels} channels; convert it to one or two.")
    _check_length(path, seconds, max_seconds)


def _check_length(path: Path, seconds: float, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise MamTraError(f"{path} is longer than {max_seconds:g} s; cut it into shorter files.")


def _unreadable(path: Path) -> str:
    return f"{path} cannot be read as a sound file; convert it to wav, flac, ogg or mp3."


def _sndfile_blocks(path: Path, max_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """Sampling rate and float32 blocks (n, channels) of what libsndfile reads."""
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames >= _UNKNOWN:
                raise MamTraError(f"{path} does not say how long it is; convert it to wav.")
            _check_header(path, file.samplerate, file.channels, file.frames / max(1, file.samplerate), max_seconds)
            size = max(1, _BLOCK // file.channels)
            while len(block := file.read(size, dtype="float32", always_2d=True)):
                yield file.samplerate, block
    except (soundfile.SoundFileError, OSError) as error:
        raise MamTraError(_unreadable(path)) from error


def _pyav_blocks(path: Path, max_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """Sampling rate and float32 blocks (n, channels) of the first audio stream of what FFmpeg reads."""
    if find_spec("av") is None:
        raise MamTraError(
            f"Reading {path.suffix} needs PyAV, which is not installed; run `pip install 'mamtra[formats]'` or convert "
            "the file to wav."
        )
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MamTraError(f"{path} holds no sound.")
            stream = container.streams.audio[0]
            rate, seconds = stream.rate, (container.duration or 0) / av.time_base
            _check_header(path, rate, stream.channels, seconds, max_seconds)
            resampler = av.AudioResampler("fltp", stream.layout, rate)
            for frame in container.decode(stream):
                for plane in resampler.resample(frame):
                    yield rate, plane.to_ndarray().T
    except (av.FFmpegError, OSError) as error:
        raise MamTraError(_unreadable(path)) from error
