"""What is said in a recording, in another voice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from mamtra.synthesis.audio import Audio, audio_of
from mamtra.synthesis.cloning import read_tokens
from mamtra.synthesis.pipeline import AudioChunk, Request

SamplesOf = Callable[..., np.ndarray]


def convert_recording(request: Request, wav: str | os.PathLike, samples_of: SamplesOf) -> Audio:
    """The speech tokens of a recording through flow and vocoder with the voice of a request.

    Args:
        request: the voice, and how it is to speak.
        wav: the recording.
        samples_of: `mamtra.synthesis.token2wav.tokens_to_samples`, or that of another runtime.

    Raises:
        MamTraError: the recording cannot serve, or the model lacks the speech tokenizer.
    """
    began = time.perf_counter()
    tokens = read_tokens(wav, request.model)
    samples = samples_of(request.model, request.voice, tokens, seed=request.seed_of(0, 0), speed=request.speed)
    spent = time.perf_counter() - began
    return audio_of(request, AudioChunk(samples, len(tokens), "eos", 0, spent=spent), 1000 * spent)
