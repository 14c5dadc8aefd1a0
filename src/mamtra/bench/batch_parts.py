"""What saying several texts at once takes, part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.sentence import start_run
from mamtra.synthesis.token2wav import batch_to_samples
from mamtra.tts import TTS


def batch_parts(tts: TTS, texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each part for all texts, by itself, a value for each round; what was made is that of one run of the model.

    Args:
        tts: the model.
        texts: to say.
        rounds: counted ones, after two to warm up.
    """
    model, request = tts.model, Request(tts.model, tts.voice())

    def read() -> list[list[int]]:
        return [segment.ids for text in texts for segment in model.text.segments(text)]

    def speak() -> list[list[int]]:
        streams = [start_run(model, request.voice, ids, seed) for seed, ids in enumerate(read_ids)]
        return [list(stream.result()) for stream in streams]

    read_ids = read()
    spoken = speak()
    parts: dict[str, Callable[[], Any]] = {
        "text": read,
        "speech tokens": speak,
        "check of what was read": lambda: [request.attention(*run) for run in zip(read_ids, spoken, strict=True)],
        "sound": lambda: batch_to_samples(model, [request.voice] * len(spoken), spoken, seeds=list(range(len(spoken)))),
    }
    return {name: [_seconds(part) for _ in range(rounds + 2)][2:] for name, part in parts.items()}


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
