"""The backends of `mamtra.synthesis.pipeline.speak` for a `LightModel`: a segment as a whole, and chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

import numpy as np

from mamtra.audio.time_stretch import Stretcher, stretch
from mamtra.light.ahead import Ahead
from mamtra.light.decoder import ROWS, Decoder
from mamtra.light.flow import LightFlowStream
from mamtra.light.model import LightModel
from mamtra.light.prompts import behind_prompt
from mamtra.light.run import LightRun, start_run
from mamtra.light.vocoder import LightVocoderStream
from mamtra.synthesis.coverage import Coverage
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.pipeline import AudioChunk, Request, in_samples, speak
from mamtra.synthesis.prompt_store import PromptStore
from mamtra.synthesis.retries import TokenRun
from mamtra.synthesis.segment_stream import HopStream, stream_runs
from mamtra.text.split import Segment
from mamtra.voices.voice import Voice

HOPS = HopSchedule(first=12, hop=6)
"""The first audio comes early and lasts until the second is there: the LM goes on while flow and vocoder compute."""
SOUNDS = 2
"""Segments whose flow and vocoder are computed side by side: what one of them cannot divide between the cores the other takes."""
PROMPT_BYTES = 2**26
"""Memory for the prompts of the voices used last."""


Prompts = PromptStore[LightFlowStream]


def prompt_store(model: LightModel) -> Prompts:
    """Flow streams behind the prompts of a model's voices."""

    return PromptStore(lambda voice, steps: behind_prompt(model.flow.of_steps(steps), voice), PROMPT_BYTES)


def open_parts(request: Request | None = None, *, model: LightModel, prompts: Prompts) -> None:
    """Begin to open what speaking needs, on threads beside the reading of the text.

    The language model is first: while it speaks there is a core for the rest. Its graph is written before the rules of reading are
    imported, since Python does one of these at a time.

    Args:
        request: the prompt of its voice is computed too, where it is known.
        model: whose parts they are.
        prompts: of the model.
    """

    _try(lambda: model.lm)

    def work() -> None:
        _try(lambda: model.lm.parts)
        _try(lambda: model.vocoder)
        _try(lambda: model.flow if request is None else prompts.stream(request.voice, request.flow_steps))

    Thread(target=work, name="mamtra-open").start()


def _try(work: Callable[[], object]) -> None:
    with suppress(Exception):  # who asks for a part is told
        work()


def speak_whole(
    request: Request, segments: Iterable[Segment], *, prompts: Prompts, ahead: bool
) -> Iterator[AudioChunk]:
    """`mamtra.synthesis.pipeline.speak` with one chunk a segment.

    Args:
        ahead: the text is there: segments are decoded side by side, beside the flow and the vocoder of those before. These wait
            for the first segment, so that it is decoded by itself, on a core that would have nothing to do.
    """
    runs, decoder = dict[int, Future[TokenRun | None]](), Decoder()
    first = Decoder() if request.model.threads > 1 else decoder
    pool, chunks = ThreadPoolExecutor(min(request.model.threads, SOUNDS)), dict[int, Future[list[AudioChunk]]]()

    def started() -> Iterator[Segment]:
        waiting = deque[Segment]()
        for index, segment in enumerate(segments):
            runs[index] = (decoder if index else first).submit(request, list(segment.ids), index)
            sounded = decoded_segment(request, (), index, runs=runs, prompts=prompts)
            chunks[index] = pool.submit(list, sounded)
            waiting.append(segment)
            if len(waiting) > (ROWS if ahead else 0):
                yield waiting.popleft()
        yield from waiting

    try:
        yield from speak(request, started(), lambda _, __, index: iter(chunks.pop(index).result()))
    finally:
        for each in (first, decoder):
            each.close()
        pool.shutdown(wait=False, cancel_futures=True)


def decoded_segment(
    request: Request, _: Iterable[int], index: int, *, runs: dict[int, Future[TokenRun | None]], prompts: Prompts
) -> Iterator[AudioChunk]:
    """The backend that gives one chunk a segment, of runs of the LM by their places."""
    if (run := runs.pop(index).result()) is not None:
        samples = tokens_to_samples(
            request.model,
            request.voice,
            run.tokens,
            prompts=prompts,
            seed=request.seed_of(index, run.attempt),
            speed=request.speed,
            steps=request.flow_steps,
        )
        read = in_samples(run.read, len(samples) / len(run.tokens))
        yield AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1, read=read)


def tokens_to_samples(
    model: LightModel,
    voice: Voice,
    tokens: list[int],
    *,
    prompts: Prompts,
    seed: int,
    speed: float = 1.0,
    steps: int | None = None,
) -> np.ndarray:
    """Speech tokens, at least one, to float32 samples (T,) with the timbre of `voice`.

    They see each other all. The prompt, which was computed before, does not see them, other than in
    `mamtra.synthesis.token2wav.tokens_to_samples`; a model for comparisons computes as that does.
    """
    ids = np.array(tokens)
    if model.exact:
        mel = model.flow.of_steps(steps).whole(ids, voice.prompt_speech, voice.prompt_mel, voice.embedding)
    else:
        mel = prompts.stream(voice, steps).whole(ids)
    return model.vocoder.whole(stretch(mel, speed), seed, voice.pitch_range)


def stream_segment(
    request: Request, text_ids: Iterable[int], index: int = 0, *, prompts: Prompts, schedule: HopSchedule | None = None
) -> Iterator[AudioChunk]:
    """The backend that gives a segment's audio while its tokens are being generated, see `mamtra.synthesis.streaming`."""
    model: LightModel = request.model
    schedule = schedule or (HopSchedule() if model.exact else HOPS)
    alone = schedule.first + model.config["flow"]["pre_lookahead_len"]

    def start(attempt: int) -> LightRun | Ahead:
        run = start_run(request, request.reading(text_ids, attempt).ids, request.seed_of(index, attempt))
        return Ahead(run, alone) if isinstance(text_ids, list) else run

    def sound(seed: int) -> HopStream:
        voice = request.voice
        flow = prompts.stream(voice, request.flow_steps)
        vocoder = LightVocoderStream(model.vocoder, seed, voice.pitch_range)
        return HopStream(flow, Stretcher(request.speed), vocoder, schedule)

    def cover(run: LightRun | Ahead, _: list[int], attempt: int, ended: bool) -> Coverage:
        return request.cover(text_ids, run.attention() if request.checks(text_ids) else None, attempt, ended=ended)

    yield from stream_runs(request, index, start=start, sound=sound, cover=cover, follow=True)
