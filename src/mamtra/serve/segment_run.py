"""A segment that a front process has read, spoken in a thread of the process with the model."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mamtra.errors import MamTraError
from mamtra.runtime.explain import in_words
from mamtra.serve.errors import is_users
from mamtra.serve.link import Link
from mamtra.synthesis.pipeline import AudioChunk
from mamtra.voices.voice import Voice

if TYPE_CHECKING:
    from mamtra.tts import TTS

log = logging.getLogger("mamtra.serve")


class SegmentRun:
    """Call it in a thread; it sends what is made, then why it ended.

    Args:
        tts: the model.
        link: to the front process.
        voice: to speak with.
        content: of the message that asks for it.
        ended: called at the end.
    """

    def __init__(
        self, tts: TTS, link: Link, voice: Voice, content: dict[str, Any], ended: Callable[[], object]
    ) -> None:
        self._tts, self._link, self._voice, self._content, self._ended = tts, link, voice, content, ended
        self._number: int = content["number"]
        self._cancelled = False
        self._ids = _ArrivingIds(lambda: self._send("more"))

    def cancel(self) -> None:
        """Nobody wants the rest: it stops after the chunk that it computes."""
        self._cancelled = True
        self._ids.arrived(None)

    def arrived(self, text_id: int | None) -> None:
        """The next text id; None behind the last one."""
        self._ids.arrived(text_id)

    def __call__(self) -> None:
        """Speak."""
        try:
            with in_words():
                self._speak()
        except Exception as error:
            if not isinstance(error, MamTraError):
                log.exception("A segment failed.")
            self._send("error", message=str(error), user=is_users(error))
        else:
            self._send("end")
        finally:
            self._ended()

    def _speak(self) -> None:
        if self._cancelled:  # while it waited for a thread
            return
        chunks = self._chunks()
        try:
            for chunk in chunks:
                if self._cancelled:
                    return
                parts = [np.ascontiguousarray(chunk.samples, np.float32).tobytes()]
                if chunk.read is not None:
                    parts.append(np.ascontiguousarray(chunk.read, np.float32).tobytes())
                about = {"tokens": chunk.tokens, "reason": chunk.finish_reason, "attempts": chunk.attempts}
                self._send("chunk", *parts, **about)
        finally:
            chunks.close()  # the engine's stream is cancelled with it

    def _chunks(self) -> Iterator[AudioChunk]:
        from mamtra.synthesis.sentence import whole_segment

        content, ids = self._content, self._content.get("ids")
        request = self._tts.request(self._voice, content["seed"], content["speed"], content["steps"])
        backend = whole_segment if content["whole"] else self._tts.ways.segment
        return backend(request, self._ids if ids is None else ids, content["index"])

    def _send(self, kind: str, *parts: bytes, **content: Any) -> None:
        self._link.send({"number": self._number, "kind": kind, **content}, *parts)


class _ArrivingIds(Iterable[int]):
    """Text ids that are asked for one by one. Iterating again starts from the first one again.

    Args:
        ask: for the next one.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask, self._known, self._done = ask, list[int](), False
        self._arrived: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def arrived(self, text_id: int | None) -> None:
        """The next one; None where there are no more."""
        self._arrived.put(text_id)

    def __iter__(self) -> Iterator[int]:
        at = 0
        while at < len(self._known) or self._pull():
            yield self._known[at]
            at += 1

    def _pull(self) -> bool:
        if not self._done:
            self._ask()
            found = self._arrived.get()
            self._done = found is None
            if found is not None:
                self._known.append(found)
        return not self._done
