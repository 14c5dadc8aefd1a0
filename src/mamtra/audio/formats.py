"""Encode samples as bytes of a sound format, at once or chunk by chunk."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import soundfile

from mamtra.audio.ogg import renumber
from mamtra.errors import MamTraError

FORMATS = ("wav", "flac", "opus", "mp3", "aac", "pcm")
MIME = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}
_SNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@lru_cache(1)
def available_formats() -> Mapping[str, bool]:
    """Which of `FORMATS` this installation can write; asked once, since the library takes its time to answer."""
    found = soundfile.available_formats()

    def has(container: str, subtype: str) -> bool:
        return container in found and subtype in soundfile.available_subtypes(container)

    able = {name: has(*kind) for name, kind in _SNDFILE.items()}
    return MappingProxyType({**able, "aac": importlib.util.find_spec("av") is not None, "pcm": True})


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Clip samples (T,) to [-1, 1] and round them to little-endian int16.

    Raises:
        MamTraError: a value is NaN or infinite.
    """
    if not np.isfinite(samples).all():
        raise MamTraError("The sound holds values that are not numbers (NaN or infinity) and was not written.")
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")


class StreamEncoder:
    """Encodes chunk by chunk: `write` returns the bytes that are ready, `close` the rest.

    The concatenated bytes are a playable stream. If a format stores the length in the header (wav, flac), it is "unknown"
    there; `encode` makes files with the length. The same chunks give the same bytes in every format.

    Args:
        sample_rate: Hz of the samples.
        fmt: one of `FORMATS`.
        comment: text that is stored with the sound, where the format has a place for it (all but aac and pcm).

    Raises:
        MamTraError: unknown format, or one this installation lacks.
    """

    def __init__(self, sample_rate: int, fmt: str, comment: str = "") -> None:
        if fmt not in FORMATS:
            raise MamTraError(f"Format {fmt!r} is unknown; choose one of {', '.join(FORMATS)}.")
        if not available_formats()[fmt]:
            how = "pip install 'mamtra[formats]'" if fmt == "aac" else "pip install -U soundfile"
            raise MamTraError(f"This installation cannot write {fmt}; run `{how}` or choose wav or flac.")
        self.sample_rate, self.fmt = sample_rate, fmt
        self._sent = 0
        self._serial: int | None = None
        self._buffer = io.BytesIO()
        self._file: soundfile.SoundFile | None = None
        self._aac: _Aac | None = None
        if fmt == "aac":
            self._aac = _Aac(self._buffer, sample_rate)
        elif fmt == "wav":
            self._buffer.write(_stream_wav_header(sample_rate, comment))
        elif fmt != "pcm":
            container, subtype = _SNDFILE[fmt]
            # constant bit rate: players compute the length of an mp3 stream from its first frame
            rate = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} if fmt == "mp3" else {}
            kind = {"subtype": subtype, "format": container}
            self._file = soundfile.SoundFile(self._buffer, "w", sample_rate, 1, **kind, **rate)
            if fmt == "opus":
                _short_pages(self._file)
            if comment:
                self._file.comment = comment

    def write(self, samples: np.ndarray) -> bytes:
        """Take float samples (T,) in [-1, 1]; return the bytes that became ready (possibly none)."""
        ints = to_int16(samples)
        if self._serial is None:
            self._serial = zlib.crc32(ints.tobytes())
        if self._aac is not None:
            self._aac.write(ints)
        elif self._file is not None:
            step = self.sample_rate  # libsndfile's ogg writer needs stack in proportion to one call
            for start in range(0, len(ints), step):
                self._file.write(ints[start : start + step])
        else:
            self._buffer.write(ints.tobytes())
        return self._take()

    def close(self) -> bytes:
        """End the stream; return its last bytes."""
        if self._aac is not None:
            self._aac.close()
        elif self._file is not None:
            self._file.close()
        return self._take()

    def whole(self) -> bytes:
        """Everything written so far, with the header as `close` completed it."""
        return self._numbered(self._buffer.getvalue())

    def _take(self) -> bytes:
        with self._buffer.getbuffer() as view:
            fresh = bytes(view[self._sent :])
        self._sent += len(fresh)
        return self._numbered(fresh)

    def _numbered(self, content: bytes) -> bytes:
        """Ogg with a serial number that follows from the first chunk, where libsndfile's is random."""
        return renumber(content, self._serial or 0) if self.fmt == "opus" else content


def _short_pages(file: soundfile.SoundFile) -> None:
    """Let Ogg pages hold a fifth of a second instead of a whole one, for which a listener would wait."""
    command, milliseconds = 0x1302, soundfile._ffi.new("double *", 200.0)  # SFC_SET_OGG_PAGE_LATENCY_MS
    soundfile._snd.sf_command(file._file, command, milliseconds, 8)


class _Aac:
    """AAC in ADTS frames through PyAV."""

    def __init__(self, sink: io.BytesIO, sample_rate: int) -> None:
        import av

        self._av = av
        self._container = av.open(sink, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=sample_rate)
        self._stream.layout = "mono"
        self._rate, self._position = sample_rate, 0

    def write(self, ints: np.ndarray) -> None:
        if not len(ints):
            return
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(ints)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate, self._position
        self._position += len(ints)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def encode(samples: np.ndarray, sample_rate: int, fmt: str, comment: str = "") -> bytes:
    """Encode mono samples (T,) in [-1, 1] as a whole file of format `fmt` (one of `FORMATS`); `comment` as of `StreamEncoder`.

    Raises:
        MamTraError: unknown or missing format, or samples that are not numbers.
    """
    if fmt == "wav":
        buffer = io.BytesIO()
        with soundfile.SoundFile(buffer, "w", sample_rate, 1, format="WAV", subtype="PCM_16") as file:
            if comment:
                file.comment = comment
            file.write(to_int16(samples))
        return buffer.getvalue()
    encoder = StreamEncoder(sample_rate, fmt, comment)
    encoder.write(samples)
    encoder.close()
    return encoder.whole()


def _stream_wav_header(sample_rate: int, comment: str) -> bytes:
    """Header of a 16-bit mono wav of unknown length (both sizes at their maximum, as players expect from a pipe)."""
    fmt_chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    text = comment.encode() + b"\0" * (2 - len(comment.encode()) % 2)  # ends with a zero, at an even place
    info = struct.pack("<4sI4s4sI", b"LIST", 12 + len(text), b"INFO", b"ICMT", len(text)) + text if comment else b""
    return (
        struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE")
        + fmt_chunk
        + info
        + struct.pack("<4sI", b"data", 0xFFFFFFFF)
    )
