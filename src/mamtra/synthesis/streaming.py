"""Audio while the LM is still decoding: chunks of speech tokens go into the flow, their mel into the vocoder.

Flow and vocoder keep caches, so only a few frames around each of the vocoder's chunk boundaries are computed twice; the samples
are those of `tokens_to_samples(..., chunked=True)` for all tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.time_stretch import Stretcher
from mamtra.acoustic.vocoder_stream import VocoderStream
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.model import Model
from mamtra.synthesis.original_stream import OriginalStream
from mamtra.synthesis.pipeline import AudioChunk, Request
from mamtra.synthesis.prompt_store import PromptStore
from mamtra.synthesis.retries import TokenRun
from mamtra.synthesis.sentence import start_run, without_long_silence
from mamtra.voices.voice import Voice

PROMPT_BYTES = 2**29
"""Memory for the prompts of the voices used last."""


def prompt_store(model: Model) -> PromptStore[FlowStream]:
    """Flow streams behind the prompts of a model's voices."""

    def compute(voice: Voice) -> FlowStream:
        inputs = (tensor[None].to(model.device) for tensor in (voice.prompt_speech, voice.prompt_mel, voice.embedding))
        stream = FlowStream(model.flow, *inputs, steps=model.generation.flow_steps)
        stream.push(torch.zeros(1, 0, dtype=torch.int64, device=model.device))
        return stream

    return PromptStore(compute, PROMPT_BYTES)


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
        self, model: Model, flow: FlowStream, *, seed: int, speed: float = 1.0, schedule: HopSchedule | None = None
    ) -> None:
        self._model, self._flow = model, flow
        self._schedule, self._hops = schedule or HopSchedule(), 0
        self._stretch = Stretcher(speed)
        noise = model.vocoder.noise(torch.Generator().manual_seed(seed))
        self._vocoder = VocoderStream(model.vocoder, lambda count: noise(count).to(model.device))

    @property
    def wanted(self) -> int:
        """How many tokens to push next."""
        return self._flow.wanted(self._schedule.least(self._hops))

    def push(self, tokens: list[int], final: bool = False) -> np.ndarray:
        """Add tokens and get the samples (T,) that no later token can change, perhaps none."""
        self._hops += 1
        mel = self._flow.push(torch.tensor([tokens], dtype=torch.int64, device=self._model.device), final)
        wave = self._vocoder.push(self._stretch.push(mel, final), final)
        return wave.reshape(-1).float().cpu().numpy()


def stream_segment(
    request: Request,
    text_ids: Iterable[int],
    index: int = 0,
    *,
    prompts: PromptStore[FlowStream],
    schedule: HopSchedule | None = None,
) -> Iterator[AudioChunk]:
    """The backend of `mamtra.synthesis.pipeline.speak` that gives a segment's audio while its tokens are being generated.

    A run of the LM that gives no speech, is cut off, or leaves words out or says them twice, is repeated only as long as no audio
    of it was given.

    Args:
        text_ids: of the segment: a list, or an iterable of ids that are still arriving (see `mamtra.text.bistream_text`), which
            is read again where a run is repeated.
        prompts: of the model.
        schedule: lengths of the hops; `HopSchedule()` by default.

    Yields:
        Chunks, of which only the last one tells why the tokens ended.
    """
    for attempt in range(request.retries.attempts):
        run = start_run(request.model, request.voice, text_ids, request.seed_of(index, attempt))
        drawn, waiting = list[int](), list[int]()
        given, pending = False, 0  # whether audio was given, and the number of tokens without audio yet
        last, lost = attempt + 1 == request.retries.attempts, False
        try:
            stream = _open(request, request.seed_of(index, attempt), prompts, schedule)
            wanted = stream.wanted
            for token in without_long_silence(run, request.model.generation):
                drawn.append(token)
                waiting.append(token)
                if len(waiting) < wanted:
                    continue
                lost = not (given or last) and request.misread(text_ids, drawn, ended=False) > 0
                if lost:
                    break
                samples = stream.push(waiting)
                pending += len(waiting)
                waiting, wanted = [], stream.wanted
                if len(samples):
                    yield AudioChunk(samples, pending, "", attempt + 1)
                    given, pending = True, 0
        finally:
            run.cancel()  # nobody listens any more, the flow or the text has failed, or words were left out
        if lost:
            continue
        reason = str(run.finish_reason)
        misread = 0.0 if given or last else request.misread(text_ids, drawn)
        if given or request.retries.accepts(TokenRun(run.tokens, reason, attempt, misread)):
            yield AudioChunk(stream.push(waiting, final=True), pending + len(waiting), reason, attempt + 1)
            return
    request.retries.give_up()


def _open(
    request: Request, seed: int, prompts: PromptStore[FlowStream], schedule: HopSchedule | None
) -> SegmentStream | OriginalStream:
    model, voice = request.model, request.voice
    # The original can stream at its own speed and by its own hops only.
    if model.generation.like_original and request.speed == 1.0 and schedule is None:
        return OriginalStream(model, voice, seed=seed)
    return SegmentStream(model, prompts.stream(voice), seed=seed, speed=request.speed, schedule=schedule)
