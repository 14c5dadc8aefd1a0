"""Samples that arrive chunk by chunk to another rate."""

from __future__ import annotations

import numpy as np
import soxr


class ResampleStream:
    """Resamples chunk by chunk with soxr's high quality; together the chunks are the whole sound resampled.

    Args:
        source: rate of what comes in, Hz.
        target: rate of what goes out, Hz.
    """

    def __init__(self, source: int, target: int) -> None:
        self._stream = None if source == target else soxr.ResampleStream(source, target, 1, dtype="float32")

    def push(self, samples: np.ndarray, final: bool = False) -> np.ndarray:
        """Take float32 samples (T,), and get those (T',) that are ready; all that are left with `final`."""
        if self._stream is None:
            return samples
        return self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last=final)
