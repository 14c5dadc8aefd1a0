"""The backends of `mamtra.synthesis.pipeline.speak` for a `LightModel`: a segment as a whole, and chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mamtra.light.flow import LightFlowStream
from mamtra.light.lm import LightGeneration
from mamtra.light.model import LightModel
from mamtra.light.random import Generator
from mamtra.light.time_stretch import Stretcher, stretch
from mamtra.light.vocoder import LightVocoderStream
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.pipeline import AudioChunk, Request
from mamtra.synthesis.prompt_store import PromptStore
from mamtra.synthesis.retries import TokenRun
from mamtra.voices.voice import Voice

PROMPT_BYTES = 2**26
"""Memory for the prompts of the voices used last."""


def prompt_store(model: LightModel) -> PromptStore[LightFlowStream]:
    """Flow streams behind the prompts of a model's voices."""

    def compute(voice: Voice) -> LightFlowStream:
        stream = model.flow.stream(voice.prompt_speech, voice.prompt_mel, voice.embedding)
        stream.push([])
        return stream

    return PromptStore(compute, PROMPT_BYTES)


def start_run(request: Request, text_ids: list[int], index: int, attempt: int) -> LightGeneration:
    """One run of the LM, to be iterated over."""
    model: LightModel = request.model
    generator = Generator(request.seed_of(index, attempt))
    return LightGeneration(model.lm, text_ids, *request.voice.lm_prompt, generator, model.generation)


def whole_segment(request: Request, text_ids: Iterable[int], index: int) -> Iterator[AudioChunk]:
    """The backend that gives one chunk a segment."""
    ids, voice, model = list(text_ids), request.voice, request.model

    def runs() -> Iterator[TokenRun]:
        for attempt in range(request.retries.attempts):
            run = start_run(request, ids, index, attempt)
            tokens = list(run)
            yield TokenRun(tokens, str(run.finish_reason), attempt)

    run = request.retries.best(runs())
    if run is not None:
        mel = model.flow.whole(np.array(run.tokens), voice.prompt_speech, voice.prompt_mel, voice.embedding)
        samples = model.vocoder.whole(stretch(mel, request.speed), request.seed_of(index, run.attempt))
        yield AudioChunk(samples, len(run.tokens), run.finish_reason, run.attempt + 1)


class SegmentStream:
    """Speech tokens of one segment to samples, chunk by chunk.

    Args:
        model: the model.
        flow: a stream of its flow, from a `PromptStore`.
        seed: of the vocoder's noise.
        speed: 0.5 (slow) to 2 (fast).
        schedule: lengths of the hops.
    """

    def __init__(
        self, model: LightModel, flow: LightFlowStream, seed: int, speed: float, schedule: HopSchedule | None
    ) -> None:
        self._flow, self._stretch = flow, Stretcher(speed)
        self._vocoder = LightVocoderStream(model.vocoder, seed)
        self._schedule, self._hops = schedule or HopSchedule(), 0

    @property
    def wanted(self) -> int:
        """How many tokens to push next."""
        return self._flow.wanted(self._schedule.least(self._hops))

    def push(self, tokens: list[int], final: bool = False) -> np.ndarray:
        """Add tokens and get the samples (T,) that no later token can change, perhaps none."""
        self._hops += 1
        return self._vocoder.push(self._stretch.push(self._flow.push(tokens, final), final), final)


def stream_segment(
    request: Request,
    text_ids: Iterable[int],
    index: int = 0,
    *,
    prompts: PromptStore[LightFlowStream],
    schedule: HopSchedule | None = None,
) -> Iterator[AudioChunk]:
    """The backend that gives a segment's audio while its tokens are being generated, see `mamtra.synthesis.streaming`."""
    ids = list(text_ids)
    for attempt in range(request.retries.attempts):
        run = start_run(request, ids, index, attempt)
        seed = request.seed_of(index, attempt)
        stream = SegmentStream(request.model, prompts.stream(request.voice), seed, request.speed, schedule)
        waiting, wanted = list[int](), stream.wanted
        given, pending = False, 0  # whether audio was given, and the number of tokens without audio yet
        for token in run:
            waiting.append(token)
            if len(waiting) < wanted:
                continue
            samples = stream.push(waiting)
            pending += len(waiting)
            waiting, wanted = [], stream.wanted
            if len(samples):
                yield AudioChunk(samples, pending, "", attempt + 1)
                given, pending = True, 0
        reason = str(run.finish_reason)
        if given or request.retries.accepts(TokenRun(run.tokens, reason, attempt)):
            yield AudioChunk(stream.push(waiting, final=True), pending + len(waiting), reason, attempt + 1)
            return
    request.retries.give_up()
