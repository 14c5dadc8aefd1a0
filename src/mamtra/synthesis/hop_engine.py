"""Speech tokens of many streams to sound, hop by hop, side by side: what `mamtra.engine.engine` is for the language model."""

from __future__ import annotations

import threading
import weakref

from mamtra.acoustic.hop_batch import LARGEST, HopBatch
from mamtra.engine.turns import CLOSED, ClientTurns, WorkerTurns
from mamtra.errors import MamTraError
from mamtra.synthesis.hop_stream import HopStream
from mamtra.synthesis.hop_turns import HopTurns
from mamtra.voices.voice import Voice


class HopEngine:
    """Takes streams from any number of threads and computes their hops together.

    On a GPU one worker thread computes them; elsewhere the clients that wait do.

    Args:
        batch: computes hops; its memory says how many streams there are side by side.
        most_waiting: further streams that may wait for a place.
        largest: rows of a hop.
    """

    def __init__(self, batch: HopBatch, most_waiting: int = 4096, largest: int = LARGEST) -> None:
        self._pool, self._most = batch.pool, most_waiting
        self._work = HopTurns(batch, largest)
        on_gpu = batch.device.type == "cuda"
        self._turns = WorkerTurns(self._work, batch.device) if on_gpu else ClientTurns(self._work)
        self._lock, self._closed = threading.Lock(), False
        self._end = weakref.finalize(self, self._turns.close)

    def open(self, voice: Voice, seed: int) -> HopStream:
        """A stream that begins when it has tokens and a place is free.

        Raises:
            MamTraError: too many streams wait, the prompt is too long, or the engine is closed.
        """
        pool, sizes, tokens = self._pool, self._pool.sizes, voice.prompt_speech.tolist()
        chunks = sizes.prefix_chunks(len(tokens))
        if chunks > pool.prompt_pages:
            raise MamTraError(
                f"The prompt of {voice.name!r} has {len(tokens)} tokens, and the streams' memory has room for "
                f"{pool.prompt_pages * sizes.chunk}; make the voice from a shorter recording."
            )
        stream = HopStream(self._turns, voice, tokens[chunks * sizes.chunk :], sizes, seed)
        with self._lock:
            if self._closed:
                raise MamTraError(CLOSED)
            if len(self._work.waiting) >= self._most:
                raise MamTraError(
                    f"{pool.streams} streams are speaking and {self._most} wait; try again later, or start fewer at once."
                )
            self._work.waiting.append(stream)
        return stream

    def close(self) -> None:
        """End all streams; may be called more than once."""
        with self._lock:
            self._closed = True
        self._end()
