"""A segment as a whole: all its speech tokens from the LM, then its mel from the flow and its samples from the vocoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mamtra.engine.engine import Engine
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.request import Request as TokenRequest
from mamtra.engine.request import Sampling, TokenStream, Unistream
from mamtra.synthesis.model import Model
from mamtra.synthesis.pipeline import AudioChunk, Request, in_samples
from mamtra.synthesis.retries import TokenRun, without_long_silence
from mamtra.synthesis.token2wav import tokens_to_samples
from mamtra.voices.voice import Voice


def whole_segment(request: Request, text_ids: Iterable[int], index: int) -> Iterator[AudioChunk]:
    """The backend of `mamtra.synthesis.pipeline.speak` that gives one chunk a segment."""
    run = best_run(request, list(text_ids), index)
    if run is not None:
        seed = request.seed_of(index, run.attempt)
        how = {"seed": seed, "speed": request.speed, "steps": request.flow_steps}
        samples = tokens_to_samples(request.model, request.voice, run.tokens, **how)
        read = in_samples(run.read, len(samples) / len(run.tokens))
        yield AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1, read=read)


def best_run(request: Request, ids: list[int], index: int) -> TokenRun | None:
    """The run of the LM that is kept for a segment, None where it stays silent."""

    def runs() -> Iterator[TokenRun]:
        for attempt in range(request.retries.attempts):
            read, seed = request.reading(ids, attempt).ids, request.seed_of(index, attempt)
            tokens, reason = generate_tokens(request.model, request.voice, read, seed)
            found = request.cover(ids, request.attention(ids, tokens, attempt), attempt)
            yield TokenRun(tokens, reason, attempt, *found)

    return request.retries.best(runs())


def generate_tokens(model: Model, voice: Voice, text_ids: list[int], seed: int) -> tuple[list[int], str]:
    """One run of the LM.

    Returns:
        Speech tokens, and why they end: "eos" or "length".
    """
    run = start_run(model, voice, text_ids, seed)
    try:
        return list(without_long_silence(run.result(), model.generation)), str(run.finish_reason)
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
    settings, whole = model.generation, isinstance(text_ids, list)
    opening, text, speech = lm_prompt(model, voice, text_ids if whole else ())
    if whole:
        layout = Unistream(text_ids, [*opening, *text], speech, lengths=settings)
    else:
        mix = model.lm.config.mix_ratio
        layout = Interleaved(text, speech, lengths=settings, text_ids=text_ids, mix=mix, opening=opening)
    return (engine or model.engine).submit(TokenRequest(layout, seed, Sampling(ras=settings, guards=settings)))


def opening_of(model: Model) -> list[int]:
    """Text ids up to ``<|endofprompt|>`` that a model was trained to read first; none but for CosyVoice 3."""
    return model.text.opening if model.text.reads_letters else []


def lm_prompt(model: Model, voice: Voice, text_ids: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """What the LM reads before the text.

    A model that was trained with ``<|endofprompt|>`` (CosyVoice 3) reads its opening first, where neither the voice's text nor
    `text_ids` has that mark.

    Returns:
        Text ids up to the mark, those of the voice after it, and speech tokens.
    """
    text, speech = (part.tolist() for part in voice.lm_prompt)
    opening = opening_of(model)
    if not opening:
        return [], text, speech
    mark = opening[-1]
    if mark in text:
        end = text.index(mark) + 1
        return text[:end], text[end:], speech
    return ([] if mark in text_ids else opening), text, speech
