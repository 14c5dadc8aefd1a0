"""Lengths that the encoders of both runtimes share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SAMPLES_PER_TOKEN = 640
"""Of the speech tokenizer: 40 ms at 16 kHz."""
MARGIN = 8
"""Tokens of silence that the speech tokenizer hears on both sides, in training and in inference, so that the edges are alike."""
SEGMENT = 100
"""Steps whose mean is the context of the speaker encoder's layers."""
WINDOW, CONTEXT = 700, 100
"""Tokens that the speech tokenizer hears at a time (28 s; Whisper knows 30 s), and of these those at an inner edge that the window
beside it keeps."""


def position_rates(width: int) -> np.ndarray:
    """Radians a frame (width / 2,) float32 of the sines and cosines that tell Whisper's layers a position."""
    return np.exp(-np.log(10_000) / (width // 2 - 1) * np.arange(width // 2)).astype(np.float32)


def windows(tokens: int) -> Iterator[tuple[slice, slice]]:
    """The tokens that are heard together, and those of them that are kept, of a recording of so many tokens."""
    start = kept = 0
    while kept < tokens:
        stop = min(start + WINDOW, tokens)
        until = stop if stop == tokens else stop - CONTEXT
        yield slice(start, stop), slice(kept, until)
        start, kept = until - CONTEXT, until
