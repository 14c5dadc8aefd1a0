"""A text that is being spoken in a thread, and its audio as an event loop takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mamtra.serve.encoders import Encoder
from mamtra.serve.gate import Gate, Playback
from mamtra.serve.loops import call_in
from mamtra.serve.metrics import Spoken
from mamtra.synthesis.spans import Span, moved

if TYPE_CHECKING:
    from mamtra.synthesis.audio import Audio

MOST_AHEAD = 8 * 2**20
"""Bytes that may wait for a listener before no more are made."""


@dataclass(frozen=True)
class Piece:
    """Audio on its way to a listener.

    Attributes:
        data: encoded bytes.
        seconds: duration of the samples in it.
        text: what is said, with the first piece of a sentence.
        final: whether a sentence ends with it.
        spans: which text is in which part of the samples.
    """

    data: bytes
    seconds: float = 0.0
    text: str = ""
    final: bool = False
    spans: tuple[Span, ...] = ()


class Speaking:
    """Speech on its way: iterate over its pieces, or cancel it. Belongs to one event loop.

    Args:
        chunks: makes the audio; called in the thread.
        encoder: of the samples.
        gate: who may compute.
        ended: called in the event loop when the thread is done with it.

    Attributes:
        playback: how a listener fares.
        tokens: speech tokens so far.
        repeats: runs of the LM that were repeated so far.
        spans: which text is in which part of the sound so far.
        finish_reason: of the latest sentence; "cancelled" where nobody wanted the rest, "error" where it failed.
    """

    def __init__(
        self,
        chunks: Callable[[], Iterator[Audio]],
        encoder: Encoder,
        gate: Gate,
        playback: Playback,
        ended: Callable[[Speaking], None],
    ) -> None:
        self._chunks, self._encoder, self._gate, self._ended = chunks, encoder, gate, ended
        self.playback = playback
        self.tokens, self.repeats, self.finish_reason = 0, 0, ""
        self.spans: list[Span] = []
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._cancelled = False
        self._ahead = 0
        self._taken = threading.Condition()

    def start(self, executor: Executor) -> Speaking:
        """Begin to speak."""
        executor.submit(self._run)
        return self

    @property
    def spoken(self) -> Spoken:
        """How it went so far."""
        heard = self.playback
        counts = heard.seconds, self.tokens, self.repeats, heard.underruns
        return Spoken(*counts, self.finish_reason, heard.first_audio, heard.took)

    def cancel(self) -> None:
        """Nobody wants the rest: the thread stops after the chunk that it computes. May be called more than once."""
        with self._taken:
            self._cancelled = True
            self._taken.notify_all()

    def __aiter__(self) -> Speaking:
        return self

    async def __anext__(self) -> Piece:
        """The next piece.

        Raises:
            Exception: whatever went wrong.
        """
        item = await self._arrived.get()
        if isinstance(item, Piece):
            with self._taken:
                self._ahead -= len(item.data)
                self._taken.notify_all()
            return item
        self._arrived.put_nowait(item)
        if item is None:
            raise StopAsyncIteration
        raise item

    def _run(self) -> None:
        """In the thread."""
        try:
            self._speak()
            self._tell(None)
        except Exception as error:
            self.finish_reason = "error"
            self._tell(error)
        finally:
            call_in(self._loop, self._ended, self)

    def _speak(self) -> None:
        chunks = self._chunks()
        try:
            while (chunk := self._compute(chunks)) is not None:
                self.tokens += chunk.tokens
                self.repeats += chunk.repeats
                self.finish_reason = chunk.finish_reason
                self.spans += moved(chunk.spans, self.playback.seconds)
                self.playback.made(chunk.seconds)
                data = self._encoder.write(chunk.samples)
                self._give(Piece(data, chunk.seconds, chunk.text, bool(chunk.finish_reason), chunk.spans))
        finally:
            chunks.close()  # the engine's stream is cancelled with it
        if self._cancelled:
            self.finish_reason = "cancelled"
        elif last := self._encoder.close():
            self._give(Piece(last))

    def _compute(self, chunks: Iterator[Audio]) -> Audio | None:
        if self._cancelled:
            return None
        with self._gate.turn(self.playback):
            return None if self._cancelled else next(chunks, None)

    def _give(self, piece: Piece) -> None:
        """Hand a piece over; waits, outside the gate, while the listener is far behind."""
        with self._taken:
            self._ahead += len(piece.data)
            while self._ahead > MOST_AHEAD and self._ahead > len(piece.data) and not self._cancelled:
                self._taken.wait()
        self._tell(piece)

    def _tell(self, item: Piece | Exception | None) -> None:
        call_in(self._loop, self._arrived.put_nowait, item)
