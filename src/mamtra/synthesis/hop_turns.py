"""The turns of a `mamtra.synthesis.hop_engine.HopEngine`: streams join, are computed side by side and leave."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from contextlib import suppress

import numpy as np
import torch

from mamtra.acoustic.flow_matching import NOISE_FRAMES
from mamtra.acoustic.hop_batch import LARGEST, HopBatch
from mamtra.acoustic.hop_rows import Hop, HopRow, HopVoice
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.synthesis.engine_stream import EngineStream
from mamtra.synthesis.hop_order import choose
from mamtra.voices.voice import Voice

NOT_FINITE = "The model made sound that is not a number; its weights are damaged or overflow."


def hop_prompt(voice: Voice, sizes: HopSizes) -> tuple[list[int], torch.Tensor]:
    """Speech tokens (N,) and mel (N * ratio, mel) of a voice's prompt, without what hops leave out."""
    cut = sizes.unread(len(voice.prompt_speech))
    return voice.prompt_speech[cut:].tolist(), voice.prompt_mel[cut * sizes.ratio :]


class HopTurns:
    """Streams and the order of their hops. Of more than fit into a hop, those whose listeners will first have heard all go first.

    Args:
        batch: computes hops.
        largest: rows of a hop.

    Attributes:
        batch: see above.
        waiting: streams without a place; clients add to it.
        again: see `mamtra.engine.turns.Work`.
    """

    again: float | None = None

    def __init__(self, batch: HopBatch, largest: int = LARGEST) -> None:
        self.batch, self.waiting = batch, deque[EngineStream]()
        self._largest, self._rate = largest, batch.sound.vocoder.config.sampling_rate
        self._running: list[EngineStream] = []
        self._voices: OrderedDict[str, HopVoice] = OrderedDict()

    @torch.inference_mode()
    def turn(self) -> bool:
        """Leave, join, one hop; False when there was nothing to do."""
        gone = [stream for stream in self._running if stream.closed]
        for stream in gone:
            self._free(stream)
        busy = self._join() or bool(gone)
        now = time.monotonic()
        ready = [stream for stream in self._running if stream.ready]
        waits = any(not stream.heard and not stream.closed for stream in (*self._running, *list(self.waiting)))
        chosen, self.again = choose(ready, now, self._rate, self._largest, somebody_waits=waits)
        hops = [(stream, hop) for stream in chosen if (hop := self._next(stream)) is not None]
        if not hops:
            return busy or bool(chosen)
        samples = self.batch.fetch([hop for _, hop in hops]).numpy().copy()
        finite = np.isfinite(samples.sum(axis=1)).tolist()
        for (stream, hop), row, good in zip(hops, samples, finite, strict=True):
            if not good:
                self._free(stream, damaged=True)
                stream.fail(NOT_FINITE)
                continue
            if stream.row.done:
                self._free(stream)
            stream.give(row[slice(*hop.heard)])
        return True

    def fail(self, error: str) -> None:
        """End all streams with an error."""
        for stream in list(self._running):
            with suppress(Exception):  # a device after a fault takes no more orders, and the others are to be told too
                self._free(stream)
            stream.fail(error)
        while self.waiting:
            self.waiting.popleft().fail(error)

    def _next(self, stream: EngineStream) -> Hop | None:
        sizes = self.batch.pool.sizes
        hop = stream.row.next(*stream.take())
        if (hop.offset + sizes.chunk) * sizes.ratio <= NOISE_FRAMES:
            return hop
        self._free(stream)
        stream.fail(f"The utterance has more than {NOISE_FRAMES} mel frames with its prompt; split the text.")
        return None

    def _join(self) -> bool:
        """Give places to streams that have tokens, in the order of their arrival."""
        pool, joined = self.batch.pool, dict[str, list[int]]()
        for stream in list(self.waiting):
            if stream.closed:
                self.waiting.remove(stream)
            elif pool.free_rows and stream.ready:
                voice = self._voice(stream.voice)
                if voice is None:
                    break
                self.waiting.remove(stream)
                stream.row = HopRow(pool, voice, self.batch.sound, stream.seed, placed=False)
                self._running.append(stream)
                joined.setdefault(stream.voice.prompt_digest, []).append(stream.row.row)
        for key, rows in joined.items():
            self._voices[key].place(pool, rows)
        return bool(joined)

    def _voice(self, voice: Voice) -> HopVoice | None:
        """The prompt of a voice; None while the streams of other voices need the memory."""
        key, pool = voice.prompt_digest, self.batch.pool
        if key not in self._voices:
            used = {stream.voice.prompt_digest for stream in self._running}
            tokens, mel = hop_prompt(voice, pool.sizes)
            needed = pool.sizes.prefix_chunks(len(tokens))
            for other in [other for other in self._voices if other not in used]:
                if needed <= len(pool.free_pages):
                    break
                pool.free_pages.extend(self._voices.pop(other).pages)
            if needed > len(pool.free_pages):
                return None
            self._voices[key] = HopVoice.make(
                self.batch.flow, pool, tokens, mel, voice.embedding, lambda hop: self.batch([hop]), voice.pitch_range
            )
        self._voices.move_to_end(key)
        return self._voices[key]

    def _free(self, stream: EngineStream, *, damaged: bool = False) -> None:
        stream.row.free(damaged=damaged)
        stream.ended = True
        self._running.remove(stream)
