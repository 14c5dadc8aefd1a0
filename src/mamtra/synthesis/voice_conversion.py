"""What is said in a recording, in another voice."""

from __future__ import annotations

import os
import time

from mamtra.synthesis.audio import Audio, audio_of
from mamtra.synthesis.pipeline import AudioChunk, Request
from mamtra.synthesis.reference import read_tokens
from mamtra.synthesis.token2wav import tokens_to_samples


def convert_recording(request: Request, wav: str | os.PathLike) -> Audio:
    """The speech tokens of a recording through flow and vocoder with the voice of a request.

    Raises:
        MamTraError: the recording cannot serve, or the model lacks the speech tokenizer.
    """
    began = time.perf_counter()
    tokens = read_tokens(request.model, wav)
    samples = tokens_to_samples(request.model, request.voice, tokens, seed=request.seed, speed=request.speed)
    spent = time.perf_counter() - began
    return audio_of(request, AudioChunk(samples, len(tokens), "eos", 0, spent=spent), 1000 * spent)
