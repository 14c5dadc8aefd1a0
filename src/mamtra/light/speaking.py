"""The backends of `mamtra.synthesis.pipeline.speak` for a `LightModel`: a segment as a whole, and chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event, Thread

import numpy as np

from mamtra.audio.time_stretch import Stretcher, stretch
from mamtra.engine.interleaved import Interleaved
from mamtra.engine.request import Unistream
from mamtra.errors import MamTraError
from mamtra.light.flow import LightFlowStream
from mamtra.light.model import LightModel
from mamtra.light.prompts import behind_prompt
from mamtra.light.random import Generator
from mamtra.light.run import LightRun
from mamtra.light.vocoder import LightVocoderStream
from mamtra.models.kinds import MIX
from mamtra.synthesis.coverage import Coverage
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.pipeline import AudioChunk, Request, in_samples, speak
from mamtra.synthesis.prompt_store import PromptStore
from mamtra.synthesis.retries import TokenRun
from mamtra.synthesis.segment_stream import HopStream, stream_runs
from mamtra.text.split import Segment
from mamtra.voices.voice import Voice

PROMPT_BYTES = 2**26
"""Memory for the prompts of the voices used last."""


Prompts = PromptStore[LightFlowStream]


def prompt_store(model: LightModel) -> Prompts:
    """Flow streams behind the prompts of a model's voices."""

    return PromptStore(lambda voice: behind_prompt(model.flow, voice), PROMPT_BYTES)


def open_beside(prompts: Prompts, request: Request) -> None:
    """Begin to open the flow, its prompt and the vocoder on another thread, while the LM is opened and makes its first tokens."""

    def work() -> None:
        with suppress(MamTraError):  # who asks for a part is told
            prompts.stream(request.voice)
            _ = request.model.vocoder

    Thread(target=work, name="mamtra-open").start()


def start_run(request: Request, text_ids: Iterable[int], seed: int) -> LightRun:
    """One run of the LM, to be iterated over; of text ids in a list, or of those that are still arriving."""
    model: LightModel = request.model
    prompt, speech = (part.tolist() for part in request.voice.lm_prompt)
    run = partial(LightRun, model.lm, generator=Generator(seed), settings=model.generation)
    if not isinstance(text_ids, list):
        mix = tuple(model.config["lm"].get("mix_ratio", MIX))
        return run(Interleaved(prompt, speech, lengths=model.generation, text_ids=text_ids, mix=mix))
    begin = 1 + len(prompt)
    layout = Unistream(text_ids, prompt, speech, lengths=model.generation)
    return run(layout, text=(begin, begin + len(text_ids)))


def best_run(request: Request, ids: list[int], index: int, stop: Event | None = None) -> TokenRun | None:
    """The run of the LM that is kept for a segment, None where it stays silent, or where `stop` was set meanwhile."""

    def runs() -> Iterator[TokenRun]:
        for attempt in range(request.retries.attempts):
            run = start_run(request, ids, request.seed_of(index, attempt))
            for _ in run:
                if stop is not None and stop.is_set():
                    return
            found = Coverage.of(run.attention() if request.checks(ids) else None)
            yield TokenRun(run.tokens, str(run.finish_reason), attempt, *found)

    return request.retries.best(runs())


def whole_segment(request: Request, text_ids: Iterable[int], index: int, *, prompts: Prompts) -> Iterator[AudioChunk]:
    """The backend that gives one chunk a segment."""
    yield from _samples_of(request, best_run(request, list(text_ids), index), index, prompts)


def speak_whole(
    request: Request, segments: Iterable[Segment], *, prompts: Prompts, ahead: bool
) -> Iterator[AudioChunk]:
    """`mamtra.synthesis.pipeline.speak` with one chunk a segment.

    Args:
        ahead: the LM of a segment runs beside the flow and the vocoder of the one before, for texts that are there.
    """
    if not ahead:
        yield from speak(request, segments, partial(whole_segment, prompts=prompts))
        return
    runs, stop, pool = dict[int, Future[TokenRun | None]](), Event(), ThreadPoolExecutor(1, "mamtra-lm")

    def started() -> Iterator[Segment]:
        """Segments, each given once the LM has been asked for the next one too."""
        before = None
        for index, segment in enumerate(segments):
            runs[index] = pool.submit(best_run, request, list(segment.ids), index, stop)
            if before is not None:
                yield before
            before = segment
        if before is not None:
            yield before

    def backend(request: Request, text_ids: Iterable[int], index: int) -> Iterator[AudioChunk]:
        return _samples_of(request, runs.pop(index).result(), index, prompts)

    open_beside(prompts, request)
    try:
        yield from speak(request, started(), backend)
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _samples_of(request: Request, run: TokenRun | None, index: int, prompts: Prompts) -> Iterator[AudioChunk]:
    if run is not None:
        seed = request.seed_of(index, run.attempt)
        samples = tokens_to_samples(
            request.model, request.voice, run.tokens, prompts=prompts, seed=seed, speed=request.speed
        )
        read = in_samples(run.read, len(samples) / len(run.tokens))
        yield AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1, read=read)


def tokens_to_samples(
    model: LightModel, voice: Voice, tokens: list[int], *, prompts: Prompts, seed: int, speed: float = 1.0
) -> np.ndarray:
    """Speech tokens, at least one, to float32 samples (T,) with the timbre of `voice`.

    They see each other all. The prompt, which was computed before, does not see them, other than in
    `mamtra.synthesis.token2wav.tokens_to_samples`; a model for comparisons computes as that does.
    """
    ids = np.array(tokens)
    if model.exact:
        mel = model.flow.whole(ids, voice.prompt_speech, voice.prompt_mel, voice.embedding)
    else:
        mel = prompts.stream(voice).whole(ids)
    return model.vocoder.whole(stretch(mel, speed), seed)


def stream_segment(
    request: Request, text_ids: Iterable[int], index: int = 0, *, prompts: Prompts, schedule: HopSchedule | None = None
) -> Iterator[AudioChunk]:
    """The backend that gives a segment's audio while its tokens are being generated, see `mamtra.synthesis.streaming`."""
    model: LightModel = request.model

    def sound(seed: int) -> HopStream:
        flow, vocoder = prompts.stream(request.voice), LightVocoderStream(model.vocoder, seed)
        return HopStream(flow, Stretcher(request.speed), vocoder, schedule)

    def cover(run: LightRun, _: list[int], ended: bool) -> Coverage:
        return Coverage.of(run.attention() if request.checks(text_ids) else None, ended=ended)

    open_beside(prompts, request)
    start = partial(start_run, request, text_ids)
    yield from stream_runs(request, index, start=start, sound=sound, cover=cover, follow=True)
