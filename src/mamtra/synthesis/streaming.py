"""Sound while the LM is still decoding: codes go into the flow by chunks, mel into the vocoder, samples come out.

Flow and vocoder remember what they made, so nothing is computed twice but a few frames around each of the vocoder's seams;
what comes out is `tokens_to_samples(..., chunked=True)` of all codes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.time_stretch import Stretcher
from mamtra.acoustic.vocoder_stream import VocoderStream
from mamtra.errors import MamTraError
from mamtra.synthesis.model import Model
from mamtra.synthesis.sentence import ATTEMPTS, AudioChunk, segment_seed, start_interleaved, start_run
from mamtra.synthesis.token2wav import vocoder_noise
from mamtra.voices.voice import Voice

PROMPT_BYTES = 2**29
"""What the passes over prompts of voices used lately may take, but for the latest one, which is kept anyhow."""


class HopSchedule(BaseModel):
    """How many new codes each call of the flow waits for; more only to complete a chunk, and always the look-ahead besides.

    Long hops cost less and short ones come sooner, so they grow, from request to request anew. A hop ends where a chunk of
    the flow does (25 codes, those of the prompt counted in), which is why a first hop of 20 codes is one of 20 to 44.
    The original's hops are those of ``HopSchedule(first=25, hop=50)``.

    Attributes:
        first: codes before the first sound, at least.
        hop: codes of the second hop.
        growth: each hop is so many times as long as the one before.
        most: codes of the longest hop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int = Field(20, ge=1)
    hop: int = Field(25, ge=1)
    growth: float = Field(2, ge=1)
    most: int = Field(100, ge=1)

    def least(self, hops: int) -> int:
        """Codes of the hop after so many."""
        return self.first if hops == 0 else min(self.most, int(self.hop * self.growth ** min(hops - 1, 16)))

    @classmethod
    def parse(cls, text: str) -> HopSchedule:
        """Read ``FIRST``, ``FIRST,HOP`` or ``FIRST,HOP,MOST``, in codes; what is left out is as by default.

        Raises:
            MamTraError: it is something else.
        """
        try:
            return cls(**dict(zip(("first", "hop", "most"), map(int, text.split(",", 2)), strict=False)))
        except ValueError as error:
            raise MamTraError(
                f"Hops {text!r} cannot be read; give one to three whole numbers above 0 such as 25,50,100."
            ) from error


class PromptStore:
    """Flow streams that have seen only the prompt of a voice, so that each voice's prompt is computed once.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, int], tuple[Voice, FlowStream]] = OrderedDict()

    def stream(self, voice: Voice) -> FlowStream:
        """A stream to go on from, the caller's own."""
        tensors = (voice.prompt_speech, voice.prompt_mel, voice.embedding)
        key = tuple(id(tensor) for tensor in tensors)
        with self._lock:
            if key not in self._kept:
                device = self._model.device
                stream = FlowStream(
                    self._model.flow,
                    *(tensor[None].to(device) for tensor in tensors),
                    steps=self._model.generation.flow_steps,
                )
                stream.push(torch.zeros(1, 0, dtype=torch.int64, device=device))
                # The voice is kept too: as long as its tensors live, their ids name no others.
                self._kept[key] = (voice, stream)
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(kept.bytes for _, kept in self._kept.values()) > PROMPT_BYTES:
                self._kept.popitem(last=False)
            return self._kept[key][1].fork()


class SoundStream:
    """Codes of one segment to samples, chunk by chunk.

    Args:
        model: the model.
        flow: a stream of its flow, from a `PromptStore`.
        seed: of the vocoder's noise.
        speed: 0.5 (slow) to 2 (fast).
        schedule: of the hops.
    """

    def __init__(
        self, model: Model, flow: FlowStream, *, seed: int, speed: float = 1.0, schedule: HopSchedule | None = None
    ) -> None:
        self._model, self._flow = model, flow
        self._schedule, self._hops = schedule or HopSchedule(), 0
        self._stretch = Stretcher(speed)
        generator = torch.Generator().manual_seed(seed)
        self._vocoder = VocoderStream(model.vocoder, lambda count: vocoder_noise(count, generator).to(model.device))

    @property
    def wanted(self) -> int:
        """How many codes to push next."""
        return self._flow.wanted(self._schedule.least(self._hops))

    def push(self, codes: list[int], final: bool = False) -> np.ndarray:
        """Hand over codes and get the samples (T,) that are settled by them, perhaps none."""
        self._hops += 1
        mel = self._flow.push(torch.tensor([codes], dtype=torch.int64, device=self._model.device), final)
        wave = self._vocoder.push(self._stretch.push(mel, final), final)
        samples = wave.reshape(-1).float().cpu().numpy()
        if not np.isfinite(samples).all():
            raise MamTraError("The model made sound that is not a number; its weights are damaged or overflow.")
        return samples


def stream_segment(
    model: Model,
    voice: Voice,
    text_ids: Iterable[int],
    prompts: PromptStore,
    *,
    seed: int,
    index: int = 0,
    speed: float = 1.0,
    schedule: HopSchedule | None = None,
) -> Iterator[AudioChunk]:
    """Speak one segment and give its sound as it is made; what `speak_segment` would say, but for its choice of attempts.

    As long as nothing was heard, a run of the LM that says nothing or does not come to an end is repeated; after that it
    has to be taken as it is.

    Args:
        text_ids: of the segment: a list, or an iterable of ids that are still arriving (see `mamtra.text.bistream_text`), which is
            read again where a run is repeated.
        schedule: of the hops; see `HopSchedule` for the default. Other arguments are those of `speak_segment`.

    Yields:
        chunks, of which only the last one tells why the codes ended; errors as in `speak_segment`.
    """
    start = start_run if isinstance(text_ids, list) else start_interleaved
    for attempt in range(ATTEMPTS):
        own = segment_seed(seed, index, attempt)
        run = start(model, voice, text_ids, torch.Generator().manual_seed(own))
        sound = SoundStream(model, prompts.stream(voice), seed=own, speed=speed, schedule=schedule)
        heard, waiting, unheard, wanted = False, [], 0, sound.wanted
        for code in run:
            waiting.append(code)
            if len(waiting) < wanted:
                continue
            samples = sound.push(waiting)
            unheard += len(waiting)
            waiting, wanted = [], sound.wanted
            if len(samples):
                yield AudioChunk(samples, unheard, "", attempt + 1)
                heard, unheard = True, 0
        if heard or (run.tokens and (run.finish_reason == "eos" or attempt + 1 == ATTEMPTS)):
            rest = sound.push(waiting, final=True)
            yield AudioChunk(rest, unheard + len(waiting), str(run.finish_reason), attempt + 1)
            return
    raise MamTraError("The model made no speech for a sentence; try another seed or voice.")
