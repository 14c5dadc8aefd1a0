"""A segment as a whole: all its speech tokens from the LM, then its mel from the flow and its samples from the vocoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch

from mamtra.engine.bistream import BistreamGeneration, generate_bistream
from mamtra.engine.generate import Generation, generate
from mamtra.engine.sampling import ras_sample
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import AudioChunk, Request
from mamtra.synthesis.retries import TokenRun
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.voices.voice import Voice


def whole_segment(request: Request, text_ids: Iterable[int], index: int) -> Iterator[AudioChunk]:
    """The backend of `mamtra.synthesis.pipeline.speak` that gives one chunk a segment."""
    model, voice, ids = request.model, request.voice, list(text_ids)
    run = request.retries.best(
        TokenRun(*generate_tokens(model, voice, ids, request.generator(index, attempt)), attempt)
        for attempt in range(request.retries.attempts)
    )
    if run is not None:
        seed = request.seed_of(index, run.attempt)
        samples = tokens_to_samples(model, voice, run.tokens, seed=seed, speed=request.speed)
        yield AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1)


def generate_tokens(
    model: Model, voice: Voice, text_ids: list[int], generator: torch.Generator
) -> tuple[list[int], str]:
    """One run of the LM.

    Returns:
        Speech tokens, and why they end: "eos" or "length".
    """
    run = start_run(model, voice, text_ids, generator)
    tokens = list(run)
    return tokens, str(run.finish_reason)


def start_run(model: Model, voice: Voice, text_ids: list[int], generator: torch.Generator) -> Generation:
    """One run of the LM, to be iterated over."""
    settings = model.generation
    return generate(
        model.lm,
        text_ids,
        *voice.lm_prompt,
        generator=generator,
        lengths=settings,
        sampler=partial(ras_sample, config=settings),
        step=model.lm_step,
    )


def start_interleaved(
    model: Model, voice: Voice, text_ids: Iterable[int], generator: torch.Generator
) -> BistreamGeneration:
    """One run of the LM while its text is arriving, to be iterated over."""
    settings = model.generation
    return generate_bistream(
        model.lm,
        text_ids,
        *voice.lm_prompt,
        generator=generator,
        lengths=settings,
        sampler=partial(ras_sample, config=settings),
        step=model.lm_step,
    )
