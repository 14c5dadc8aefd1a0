"""The process with the model, as a front process sees it."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import count
from typing import Any

import numpy as np

from mamtra.errors import MamTraError
from mamtra.serve.link import Link, Message
from mamtra.serve.voice_messages import KnownVoices, name_of, pack_voice
from mamtra.synthesis.pipeline import AudioChunk
from mamtra.voices.voice import Voice

GONE = Message({"kind": "error", "message": "The process with the model has ended.", "user": False}, [])


class ModelClient:
    """Asks the process with the model. When that ends, this process is told to end too.

    Args:
        link: to it.

    Attributes:
        ready: whether the model is warm.
        gone: whether the other process has ended.
        budget: see `mamtra.serve.admission.Admission`.
        longest_bytes: of the longest text, see `mamtra.tts.TTS.stream_bytes`.
    """

    def __init__(self, link: Link) -> None:
        self._link, self._numbers = link, count()
        self._waiting: dict[int, Callable[[Message], None]] = {}
        self._voices, self._order = KnownVoices(), threading.Lock()
        self._changed = threading.Condition()
        self.ready = self.gone = False
        self.budget: int | None = None
        self.longest_bytes = 0
        threading.Thread(target=self._receive, name="mamtra-link", daemon=True).start()

    def tell(self, what: str, **content: Any) -> None:
        """Something that is not answered."""
        self._link.send({"do": what, **content})

    def ask(self, what: str, **content: Any) -> tuple[int, Future[Message]]:
        """Number of a question, and its answer."""
        number, answer = next(self._numbers), Future[Message]()

        def arrived(message: Message) -> None:
            # the end of the other process may be told twice
            if self._waiting.pop(number, None) is not None and answer.set_running_or_notify_cancel():
                answer.set_result(message)

        self._wait(number, arrived)
        self._link.send({"do": what, "number": number, **content})
        return number, answer

    def answer(self, what: str, **content: Any) -> Message:
        """The answer to a question; waits for it.

        Raises:
            MamTraError: the question is to blame.
            RuntimeError: the other process is.
        """
        return good(self.ask(what, **content)[1].result())

    def speak(self, voice: Voice, ids: Iterable[int], **content: Any) -> Iterator[AudioChunk]:
        """Chunks of a segment.

        Args:
            voice: to speak with.
            ids: a list, or an iterable of ids that are still arriving.
            content: how to speak.

        Raises:
            MamTraError: it cannot be spoken.
            RuntimeError: the other process failed.
        """
        number, arrived = next(self._numbers), queue.SimpleQueue[Message]()
        self._wait(number, arrived.put)
        coming, ended = None if isinstance(ids, list) else iter(ids), False
        try:
            with self._order:  # voices have to be known in the order in which they are named
                name = name_of(voice)
                if not self._voices.knows(name):
                    about, parts = pack_voice(voice)
                    self._link.send({"do": "voice", "name": name, **about}, *parts)
                    self._voices.add(name, voice)
                whole = {"ids": ids} if coming is None else {}
                self._link.send({"do": "speak", "number": number, "voice": name, **whole, **content})
            while True:
                message = arrived.get()
                kind = message.content["kind"]
                if kind == "chunk":
                    yield _chunk(message)
                elif kind == "more":
                    self.tell("id", number=number, id=next(coming, None))
                else:
                    ended = True
                    good(message)
                    return
        finally:
            self._waiting.pop(number, None)
            if not ended:
                self.tell("cancel", number=number)

    def wait_ready(self) -> bool:
        """Wait until the model is warm; False where the other process ends before."""
        with self._changed:
            self._changed.wait_for(lambda: self.ready or self.gone)
        return self.ready

    def _wait(self, number: int, arrived: Callable[[Message], None]) -> None:
        self._waiting[number] = arrived
        if self.gone:
            arrived(GONE)

    def _receive(self) -> None:
        """In a thread."""
        while (message := self._link.receive()) is not None:
            number = message.content.get("number")
            if number is None:
                with self._changed:
                    self.ready, self.budget = True, message.content["budget"]
                    self.longest_bytes = message.content["longest_bytes"]
                    self._changed.notify_all()
            elif (arrived := self._waiting.get(number)) is not None:  # else nobody waits any more
                arrived(message)
        with self._changed:
            self.gone = True
            self._changed.notify_all()
        for arrived in list(self._waiting.values()):
            arrived(GONE)
        os.kill(os.getpid(), signal.SIGTERM)


def good(message: Message) -> Message:
    """A message that tells of no error.

    Raises:
        MamTraError: the user can correct it.
        RuntimeError: the other process failed.
    """
    if message.content["kind"] != "error":
        return message
    kind = MamTraError if message.content["user"] else RuntimeError
    raise kind(message.content["message"])


def _chunk(message: Message) -> AudioChunk:
    content, (samples, *read) = message
    found = np.frombuffer(read[0], np.float32).reshape(2, -1) if read else None
    return AudioChunk(
        np.frombuffer(samples, np.float32), content["tokens"], content["reason"], content["attempts"], read=found
    )
