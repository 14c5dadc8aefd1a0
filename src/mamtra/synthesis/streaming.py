"""Audio while the LM is still decoding: chunks of speech tokens go into the flow, their mel into the vocoder.

Flow and vocoder keep caches, so only a few frames around each of the vocoder's chunk boundaries are computed twice; the samples
are those of `tokens_to_samples(..., chunked=True)` for all tokens. Where a model has an engine of hops, streams go through that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.pitch_range import AS_IT_IS, PitchRange
from mamtra.acoustic.time_stretch import Stretcher
from mamtra.acoustic.vocoder_stream import VocoderStream
from mamtra.synthesis.coverage import Coverage
from mamtra.synthesis.engine_stream import EngineStream
from mamtra.synthesis.hops import HopSchedule
from mamtra.synthesis.model import Model
from mamtra.synthesis.original_stream import OriginalStream
from mamtra.synthesis.pipeline import AudioChunk, Request
from mamtra.synthesis.prompt_store import PromptStore
from mamtra.synthesis.segment_stream import HopStream, Run, stream_runs
from mamtra.synthesis.sentence import start_run
from mamtra.synthesis.token2wav import flow_stream
from mamtra.voices.voice import Voice

PROMPT_BYTES = 2**29
"""Memory for the prompts of the voices used last."""


def prompt_store(model: Model) -> PromptStore[FlowStream]:
    """Flow streams behind the prompts of a model's voices."""

    def compute(voice: Voice, steps: int | None) -> FlowStream:
        stream = flow_stream(model, voice, steps)
        stream.push(torch.zeros(1, 0, dtype=torch.int64, device=model.device))
        return stream

    return PromptStore(compute, PROMPT_BYTES)


class SegmentStream(HopStream):
    """Speech tokens of one segment to samples, chunk by chunk.

    Args:
        model: the model.
        flow: a stream of its flow, from a `PromptStore`.
        seed: of the vocoder's noise.
        speed: 0.5 (slow) to 2 (fast).
        schedule: lengths of the hops.
        pitch_range: of the voice.
    """

    def __init__(
        self,
        model: Model,
        flow: FlowStream,
        *,
        seed: int,
        speed: float = 1.0,
        schedule: HopSchedule | None = None,
        pitch_range: PitchRange = AS_IT_IS,
    ) -> None:
        self._device, noise = model.device, model.vocoder.noise(torch.Generator().manual_seed(seed))
        vocoder = VocoderStream(model.vocoder, lambda count: noise(count).to(model.device), pitch_range=pitch_range)
        super().__init__(flow, Stretcher(speed), vocoder, schedule)

    def push(self, tokens: list[int], final: bool = False) -> np.ndarray:
        """Add tokens and get the samples (T,) that no later token can change, perhaps none."""
        wave = super().push(torch.tensor([tokens], dtype=torch.int64, device=self._device), final)
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

    Args:
        request: of the text.
        text_ids: of the segment: a list, or an iterable of ids that are still arriving (see `mamtra.text.bistream_text`), which
            is read again where a run is repeated.
        index: place of the segment.
        prompts: of the model.
        schedule: lengths of the hops; `HopSchedule()` by default.

    Yields:
        See `stream_runs`.
    """

    def start(attempt: int) -> Run:
        read, seed = request.reading(text_ids, attempt).ids, request.seed_of(index, attempt)
        return start_run(request.model, request.voice, read, seed)

    def cover(_: Run, tokens: list[int], attempt: int, ended: bool) -> Coverage:
        return request.cover(text_ids, request.attention(text_ids, tokens, attempt), attempt, ended=ended)

    return stream_runs(
        request,
        index,
        start=start,
        sound=lambda seed: _open(request, seed, prompts, schedule),
        cover=cover,
    )


def _open(
    request: Request, seed: int, prompts: PromptStore[FlowStream], schedule: HopSchedule | None
) -> SegmentStream | OriginalStream | EngineStream:
    model, voice = request.model, request.voice
    # The original can stream at its own speed, by its own hops and steps, and with all of the past only.
    settings, plain = model.generation, request.speed == 1.0 and schedule is None and request.flow_steps is None
    if settings.like_original and plain and settings.flow_history == 0:
        return OriginalStream(model, voice, seed=seed)
    # An engine's hops are all of one length, of its own speed, and of as many steps as its memory was made for.
    if plain and model.hop_engine is not None:
        return model.hop_engine.open(voice, seed)
    flow, how = prompts.stream(voice, request.flow_steps), {"speed": request.speed, "schedule": schedule}
    return SegmentStream(model, flow, seed=seed, pitch_range=voice.pitch_range, **how)
