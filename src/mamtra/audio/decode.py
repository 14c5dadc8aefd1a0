"""Sound files to mono samples, block by block, so that neither a false header nor a compressed bomb fills the memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from mamtra.errors import MamTraError

_MOV, _ASF = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), b"0&\xb2u\x8ef\xcf\x11"
HEADERLESS = (".raw", ".pcm")
MIN_RATE, MAX_RATE, MAX_CHANNELS = 1000, 768_000, 64
CANCELLED = 0.01
"""Share of the channels' energy that is left of their average where they cancel each other."""
LOUDEST = 2.0**31
"""Beyond any scale of integers that a float file might hold by mistake."""
MOST_SAMPLES = 3600 * 48000
"""An hour at 48 kHz: 0.7 GB of memory."""
FINEST = 192_000
"""Hz: a shorter bound of seconds is one of so many samples, however small the file."""
_BLOCK = 1 << 20
_UNKNOWN = 1 << 62  # libsndfile's frame count of a flac stream without a length, in which it cannot seek


class TooLong(MamTraError):
    """A sound is longer than what its reader takes."""


def decode(source: Path | bytes, name: str, max_seconds: float) -> tuple[np.ndarray, int]:
    """Decode a file; its content decides how, its suffix only where the content does not tell.

    Args:
        source: a sound file, or its content.
        name: of the sound in messages; a suffix tells its format.
        max_seconds: refuse longer ones, by the header before decoding and by what is decoded.

    Returns:
        float32 samples (T,), channels averaged (the first one where they cancel each other), and their rate in Hz.

    Raises:
        TooLong: it is longer than `max_seconds`, has more samples than these at `FINEST`, or more than `MOST_SAMPLES`.
        MamTraError: it is not a sound file, is empty, or holds values that are not samples.
    """
    suffix = os.path.splitext(name)[1].lower()
    if suffix in HEADERLESS:
        raise MamTraError(f"{name} holds samples without a header; convert it to wav or flac.")
    mono: list[np.ndarray] = []
    first: list[np.ndarray] = []
    rate = count = 0
    energy = 0.0  # of the channels on average
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            form = _container(file.read(16), suffix)
            file.seek(0)
            if form:
                blocks = _pyav_blocks(file, form, name, max_seconds)
            else:
                blocks = _sndfile_blocks(source if isinstance(source, Path) else file, name, max_seconds)
            for rate, block in blocks:
                if not np.isfinite(block).all():
                    raise MamTraError(f"{name} holds values that are not numbers (NaN or infinity); export it again.")
                if np.abs(block).max(initial=0) > LOUDEST:
                    raise MamTraError(f"{name} holds samples far outside -1 to 1; export it again.")
                mono.append(block.mean(axis=1))
                if block.shape[1] > 1:
                    first.append(block[:, 0].copy())
                    energy += float(np.square(block, dtype=np.float64).sum()) / block.shape[1]
                count += len(block)
                _check_length(name, count, rate, max_seconds)
    except OSError as error:
        raise MamTraError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    if count == 0:
        raise MamTraError(f"{name} holds no sound.")
    mixed = np.concatenate(mono)
    if first and np.square(mixed, dtype=np.float64).sum() < CANCELLED * energy:
        mixed = np.concatenate(first)  # one channel is the other upside down, as of a balanced microphone
    return mixed, rate


def _container(head: bytes, suffix: str) -> str:
    """FFmpeg's name of a format that libsndfile does not read; "" for others.

    By the content: suffixes lie, and FFmpeg's own guess includes playlists, which would open other files and addresses.
    """
    if head[4:8] in _MOV:
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head.startswith(b"#!AMR"):
        return "amr"
    if head.startswith(_ASF):
        return "asf"
    # ADTS has the layer 0, which no MP3 has; before it may stand a tag, as before MP3
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return "aac" if adts or (suffix == ".aac" and head.startswith(b"ID3")) else ""


def _check_header(path: str, rate: int, channels: int, frames: float, max_seconds: float) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise MamTraError(f"{path} has a sample rate of {rate} Hz; convert it to one of {MIN_RATE} to {MAX_RATE} Hz.")
    if not 1 <= channels <= MAX_CHANNELS:
        raise MamTraError(f"{path} has {channels} channels; convert it to one or two.")
    _check_length(path, frames, rate, max_seconds)


def _check_length(path: str, frames: float, rate: int, max_seconds: float) -> None:
    if frames > max_seconds * rate:
        raise TooLong(f"{path} is longer than {max_seconds:g} s; cut it into shorter files.")
    if frames > min(MOST_SAMPLES, max_seconds * FINEST):
        raise TooLong(f"{path} is too large at {rate} Hz; cut it into shorter files or convert it to 48000 Hz.")


def _unreadable(path: str) -> str:
    return f"{path} cannot be read as a sound file; convert it to wav, flac, ogg or mp3."


def _sndfile_blocks(source: Path | BinaryIO, path: str, max_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """Sampling rate and float32 blocks (n, channels) of what libsndfile reads."""
    try:
        with soundfile.SoundFile(source) as file:
            if file.frames >= _UNKNOWN:
                raise MamTraError(f"{path} does not say how long it is; convert it to wav.")
            _check_header(path, file.samplerate, file.channels, file.frames, max_seconds)
            size = max(1, _BLOCK // file.channels)
            while len(block := file.read(size, dtype="float32", always_2d=True)):
                yield file.samplerate, block
    except soundfile.SoundFileError as error:
        raise MamTraError(_unreadable(path)) from error


def _pyav_blocks(source: BinaryIO, form: str, path: str, max_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """Sampling rate and float32 blocks (n, channels) of the first audio stream of what FFmpeg reads."""
    if find_spec("av") is None:
        raise MamTraError(
            f"Reading {path} needs PyAV, which is not installed; run `pip install 'mamtra[formats]'` or convert "
            "the file to wav."
        )
    import av

    try:
        with av.open(source, format=form) as container:
            if not container.streams.audio:
                raise MamTraError(f"{path} holds no sound.")
            stream = container.streams.audio[0]
            if not stream.rate:
                raise MamTraError(_unreadable(path))
            rate, seconds = stream.rate, (container.duration or 0) / av.time_base
            _check_header(path, rate, stream.channels, seconds * rate, max_seconds)
            resampler = av.AudioResampler("fltp", stream.layout, rate)
            for frame in container.decode(stream):
                for plane in resampler.resample(frame):
                    yield rate, plane.to_ndarray().T
    # a stream that FFmpeg has no decoder for has no attributes, and names in damaged files are no Unicode
    except (av.FFmpegError, AttributeError, UnicodeDecodeError) as error:
        raise MamTraError(_unreadable(path)) from error
