"""From audio to the bytes that a listener gets: as a stream, or as one complete file."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mamtra.audio.formats import FORMATS, StreamEncoder, available_formats, encode
from mamtra.audio.resample_stream import ResampleStream
from mamtra.audio.watermark import mark
from mamtra.serve.errors import ApiError

COMMENT = "AI-generated speech, made by MamTra"
RATES = (8000, 12000, 16000, 24000, 48000)
"""Sample rates that every format can hold."""
MORE_RATES = (11025, 22050, 32000, 44100)
"""Sample rates that every format but opus can hold."""


class Encoder(Protocol):
    """Bytes of a format, chunk by chunk."""

    def write(self, samples: np.ndarray) -> bytes:
        """Take float32 samples (T,) and get the bytes that are ready."""

    def close(self) -> bytes:
        """Get the last bytes."""


class Marked:
    """Puts a watermark into the samples before they are encoded.

    Args:
        encoder: of the marked samples.
        rate: of the samples, Hz.
        key: whose mark it is.
    """

    def __init__(self, encoder: Encoder, rate: int, key: str) -> None:
        self._encoder, self._rate, self._key, self._offset = encoder, rate, key, 0
        self.close = encoder.close

    def write(self, samples: np.ndarray) -> bytes:
        """See `Encoder.write`."""
        marked = mark(samples, self._rate, self._offset, self._key)
        self._offset += len(samples)
        return self._encoder.write(marked)


class Streamed:
    """Bytes as soon as the format has them.

    Args:
        source: rate of the samples, Hz.
        rate: of the sound, Hz.
        fmt: one of `FORMATS`.
    """

    def __init__(self, source: int, rate: int, fmt: str) -> None:
        self._resampler = ResampleStream(source, rate)
        self._encoder = StreamEncoder(rate, fmt, comment=COMMENT)

    def write(self, samples: np.ndarray) -> bytes:
        """See `Encoder.write`."""
        return self._encoder.write(self._resampler.push(samples))

    def close(self) -> bytes:
        """See `Encoder.close`."""
        last = self._encoder.write(self._resampler.push(np.zeros(0, np.float32), final=True))
        return last + self._encoder.close()


class Whole:
    """One file at the end, with its length in the header; arguments are those of `Streamed`."""

    def __init__(self, source: int, rate: int, fmt: str) -> None:
        self._resampler, self._rate, self._fmt = ResampleStream(source, rate), rate, fmt
        self._chunks: list[np.ndarray] = []

    def write(self, samples: np.ndarray) -> bytes:
        """See `Encoder.write`."""
        self._chunks.append(self._resampler.push(samples))
        return b""

    def close(self) -> bytes:
        """See `Encoder.close`."""
        self._chunks.append(self._resampler.push(np.zeros(0, np.float32), final=True))
        return encode(np.concatenate(self._chunks), self._rate, self._fmt, comment=COMMENT)


def check_format(fmt: str) -> str:
    """Refuse a format that cannot be written here.

    Raises:
        ApiError: it is unknown or not installed.
    """
    able = [name for name in FORMATS if available_formats()[name]]
    if fmt not in able:
        what = "is unknown" if fmt not in FORMATS else "cannot be written by this installation"
        message = f"response_format {fmt!r} {what}; use one of {', '.join(able)}."
        raise ApiError(400, message, param="response_format", code="unsupported_format")
    return fmt
