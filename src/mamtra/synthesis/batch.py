"""Many texts at once: all segments side by side through the language model, a few at a time through flow and vocoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from mamtra.engine.batch import generate_batch
from mamtra.engine.sampling import ras_sample_rows
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import AudioChunk, Request, speak
from mamtra.synthesis.retries import ONCE, Retries, TokenRun
from mamtra.synthesis.token2wav import batch_to_samples
from mamtra.text.split import Segment
from mamtra.voices.voice import Voice

SEGMENTS = {"cuda": 64, "cpu": 16}
"""Segments in one call of the flow, by the kind of device."""

Place = tuple[int, int]
"""Number of a text, and of a segment in it."""


def speak_texts(
    model: Model, voice: Voice, texts: Sequence[str], *, seed: int = 0, rows: int = 128, retries: Retries = ONCE
) -> Iterator[tuple[int, np.ndarray]]:
    """Every text by its number, with its samples (T,), empty where the model said nothing.

    The text is cut, sampled and joined as in `TTS.say`, from other random draws. By default each segment is tried once.

    Args:
        model: on its device.
        voice: to speak with.
        texts: to say.
        seed: of the draws.
        rows: segments side by side in the language model.
        retries: of runs that fail.
    """
    request = Request(model, voice, seed, retries=retries)
    segments = [model.text.segments(text) for text in texts]
    places = {(number, index): segment for number, row in enumerate(segments) for index, segment in enumerate(row)}
    chunks = _audio(request, _tokens(request, places, rows))
    for number, row in enumerate(segments):
        spoken = speak(request, row, lambda _, __, index, number=number: chunks.get((number, index), ()))
        yield number, np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in spoken)])


def _tokens(request: Request, places: dict[Place, Segment], rows: int) -> dict[Place, TokenRun]:
    """The run that is kept of every segment, without those that say nothing."""
    model, settings = request.model, request.model.generation
    generator = torch.Generator(model.device).manual_seed(request.seed)
    runs: dict[Place, list[TokenRun]] = {place: [] for place in places}
    waiting = sorted(places, key=lambda place: len(places[place].ids))
    for attempt in range(request.retries.attempts):
        for start in range(0, len(waiting), rows):
            chosen = waiting[start : start + rows]
            ids = [places[place].ids for place in chosen]
            found = generate_batch(
                model.lm,
                ids,
                *request.voice.lm_prompt,
                shortest=[settings.shortest(len(text)) for text in ids],
                longest=[settings.longest(len(text)) for text in ids],
                sampler=partial(ras_sample_rows, generator=generator, config=settings),
            )
            for place, row in zip(chosen, found, strict=True):
                runs[place].append(TokenRun(row.tokens, row.finish_reason, attempt))
        waiting = [place for place in waiting if not request.retries.accepts(runs[place][-1])]
    best = {place: request.retries.best(found) for place, found in runs.items()}
    return {place: run for place, run in best.items() if run is not None}


def _audio(request: Request, runs: dict[Place, TokenRun]) -> dict[Place, list[AudioChunk]]:
    """One chunk for every run."""
    model, chunks = request.model, dict[Place, list[AudioChunk]]()
    together = SEGMENTS.get(model.device.type, SEGMENTS["cpu"])
    order = sorted(runs, key=lambda place: len(runs[place].tokens))
    for start in range(0, len(order), together):
        chosen = order[start : start + together]
        seeds = [request.seed_of(place[1], runs[place].attempt) for place in chosen]
        audio = batch_to_samples(
            model, [request.voice] * len(chosen), [runs[place].tokens for place in chosen], seeds=seeds
        )
        for place, samples in zip(chosen, audio, strict=True):
            run = runs[place]
            chunks[place] = [AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1)]
    return chunks
