"""Speech tokens of many streams to sound, hop by hop, side by side: what `mamtra.engine.engine` is for the language model."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable

import torch
from torch import nn

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.hop_batch import HopBatch, chunks
from mamtra.acoustic.hop_pool import page_bytes
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.acoustic.source_filter import SourceFilter
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.engine.turns import CLOSED, ClientTurns, WorkerTurns
from mamtra.errors import MamTraError
from mamtra.runtime.memory import free_memory
from mamtra.synthesis.engine_stream import EngineStream
from mamtra.synthesis.hop_turns import HopTurns, hop_prompt
from mamtra.voices.voice import Voice

MOST_STREAMS = 512
TOGETHER = 64
"""Rows of a hop at most: more are hardly faster together, and a stream that begins waits for the hop that is being computed."""
PROMPT_CHUNKS = 64
"""Chunks of prompts that are kept, a second each."""


def hops_fit(flow: nn.Module, vocoder: nn.Module) -> bool:
    """Whether a GPU can compute hops of many streams with these networks; its kernels take heads of a power of two from 16 on."""
    if type(flow) is not Flow or type(vocoder) not in (HiFT, SourceFilter):
        return False
    width = flow.config.estimator_head_dim
    return width >= 16 and width & (width - 1) == 0


class HopEngine:
    """Takes streams from any number of threads and computes their hops together.

    On a GPU one worker thread computes them; elsewhere the clients that wait do.

    Args:
        batch: computes hops; its memory says how many streams there are side by side.
        most_waiting: further streams that may wait for a place.
        largest: rows of a hop.
    """

    def __init__(self, batch: HopBatch, most_waiting: int = 4096, largest: int = TOGETHER) -> None:
        self._pool, self._most, self._largest = batch.pool, most_waiting, min(largest, batch.pool.streams)
        self._work = HopTurns(batch, largest)
        on_gpu = batch.device.type == "cuda"
        self._turns = WorkerTurns(self._work, batch.device) if on_gpu else ClientTurns(self._work)
        self._lock, self._closed = threading.Lock(), False
        self._end = weakref.finalize(self, self._turns.close)

    @classmethod
    def of(
        cls, flow: Flow, vocoder: HiFT | SourceFilter, settings: GenerationConfig, dtype: torch.dtype = torch.float16
    ) -> HopEngine:
        """For networks on a GPU, with as many streams as fit into half of its free memory, up to `MOST_STREAMS`.

        Args:
            flow: to compute hops with.
            vocoder: likewise.
            settings: number of steps, and history.
            dtype: of the flow's weights and of what is kept of it.

        Raises:
            MamTraError: the settings do not fit the flow, or the memory does not suffice for one stream.
        """
        sizes = HopSizes.of(flow, history=settings.flow_history, steps=settings.flow_steps)
        page = page_bytes(flow, sizes, dtype)
        free = free_memory(str(flow.encoder_proj.weight.device)) // 2
        pages = min(PROMPT_CHUNKS, free // 4 // page)
        streams = min(MOST_STREAMS, (free - pages * page) // (sizes.ring * page))
        if streams < 1:
            raise MamTraError(
                f"The GPU has {free / 1e6:,.0f} MB for streams, and one needs {(sizes.ring + 1) * page / 1e6:,.0f} MB; use fewer "
                "flow_steps or a shorter flow_history."
            )
        return cls(HopBatch(flow, vocoder, sizes, streams=streams, pages=pages, dtype=dtype))

    def open(self, voice: Voice, seed: int) -> EngineStream:
        """A stream that begins when it has tokens and a place is free.

        Raises:
            MamTraError: too many streams wait, the prompt is too long, or the engine is closed.
        """
        pool, sizes = self._pool, self._pool.sizes
        tokens, _ = hop_prompt(voice, sizes)
        chunks = sizes.prefix_chunks(len(tokens))
        if chunks > pool.prompt_pages:
            raise MamTraError(
                f"The prompt of {voice.name!r} has {len(tokens)} tokens, and the streams' memory has room for "
                f"{pool.prompt_pages * sizes.chunk}; make the voice from a shorter recording."
            )
        stream = EngineStream(self._turns, voice, tokens[chunks * sizes.chunk :], sizes, seed)
        with self._lock:
            if self._closed:
                raise MamTraError(CLOSED)
            if len(self._work.waiting) >= self._most:
                raise MamTraError(
                    f"{pool.streams} streams are speaking and {self._most} wait; try again later, or start fewer at once."
                )
            self._work.waiting.append(stream)
        return stream

    def warm_up(self, voices: Iterable[Voice]) -> None:
        """Capture the graphs of a GPU for hops of any number of streams of these voices, so that none waits for it later."""
        batch, sizes = self._work.batch, self._pool.sizes
        if batch.device.type != "cuda":
            return
        fronts = {chunks(sizes.prefix_chunks(len(hop_prompt(voice, sizes)[0]))) for voice in voices}
        with self._turns.pause():
            for front in sorted(fronts, reverse=True):
                for power in range((self._largest - 1).bit_length(), -1, -1):
                    batch.capture(1 << power, front)

    def close(self) -> None:
        """End all streams; may be called more than once."""
        with self._lock:
            self._closed = True
        self._end()
