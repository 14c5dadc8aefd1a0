"""A segment as a whole: all its speech tokens from the LM, then its mel from the flow and its samples from the vocoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mamtra.engine.engine import Engine
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.request import Request as TokenRequest
from mamtra.engine.request import Sampling, TokenStream, Unistream
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import AudioChunk, Request
from mamtra.synthesis.retries import TokenRun
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.voices.voice import Voice


def whole_segment(request: Request, text_ids: Iterable[int], index: int) -> Iterator[AudioChunk]:
    """The backend of `mamtra.synthesis.pipeline.speak` that gives one chunk a segment."""
    model, voice, ids = request.model, request.voice, list(text_ids)

    def runs() -> Iterator[TokenRun]:
        for attempt in range(request.retries.attempts):
            tokens, reason = generate_tokens(model, voice, ids, request.seed_of(index, attempt))
            yield TokenRun(tokens, reason, attempt, request.misread(ids, tokens))

    run = request.retries.best(runs())
    if run is not None:
        seed = request.seed_of(index, run.attempt)
        samples = tokens_to_samples(model, voice, run.tokens, seed=seed, speed=request.speed)
        yield AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1)


def generate_tokens(model: Model, voice: Voice, text_ids: list[int], seed: int) -> tuple[list[int], str]:
    """One run of the LM.

    Returns:
        Speech tokens, and why they end: "eos" or "length".
    """
    run = start_run(model, voice, text_ids, seed)
    try:
        return run.result(), str(run.finish_reason)
    finally:
        run.cancel()


def start_run(
    model: Model, voice: Voice, text_ids: Iterable[int], seed: int, engine: Engine | None = None
) -> TokenStream:
    """One run of the LM, to be iterated over; cancel it where its end is not waited for.

    Args:
        text_ids: a list, or an iterable of ids that are still arriving.
        engine: another than that of the model.
    """
    settings, prompt = model.generation, [part.tolist() for part in voice.lm_prompt]
    if isinstance(text_ids, list):
        layout = Unistream(text_ids, *prompt, lengths=settings)
    else:
        layout = Interleaved(*prompt, lengths=settings, text_ids=text_ids, mix=model.lm.config.mix_ratio)
    return (engine or model.engine).submit(TokenRequest(layout, seed, Sampling(ras=settings)))
