"""A front process, as the process with the model serves it: its texts wait here, are spoken here, and end with it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mamtra.errors import MamTraError
from mamtra.serve.admission import Admission, Ticket
from mamtra.serve.errors import ApiError, is_users
from mamtra.serve.keys import Key
from mamtra.serve.link import Link, Message
from mamtra.serve.loops import call_in
from mamtra.serve.metrics import Metrics, Spoken
from mamtra.serve.segment_run import SegmentRun
from mamtra.serve.voice_messages import KnownVoices, unpack_voice

if TYPE_CHECKING:
    from mamtra.tts import TTS

log = logging.getLogger("mamtra.serve")


class Desk:
    """Does what one front process asks for. Made in the event loop that the admission belongs to.

    Args:
        link: to the front process.
        tts: the model.
        admission: of all front processes.
        metrics: of all front processes.
        threads: in which segments are spoken.
    """

    def __init__(self, link: Link, tts: TTS, admission: Admission, metrics: Metrics, threads: Executor) -> None:
        self._link, self._tts, self._threads = link, tts, threads
        self._admission, self._metrics = admission, metrics
        self._loop = asyncio.get_running_loop()
        self._voices = KnownVoices()
        self._runs: dict[int, SegmentRun] = {}
        self._entering: dict[int, asyncio.Task[Ticket | None]] = {}
        threading.Thread(target=self._serve, name="mamtra-desk", daemon=True).start()

    def tell_ready(self) -> None:
        """The model is warm."""
        self._link.send({"budget": self._admission.budget, "longest_bytes": self._tts.stream_bytes()})

    def close(self) -> None:
        """The front process has ended; nobody wants its texts any more."""
        self._link.close()

    def _serve(self) -> None:
        """In a thread, until the front process ends."""
        while (message := self._link.receive()) is not None:
            try:
                getattr(self, f"_do_{message.content['do']}")(message)
            except Exception as error:  # one request must not end the others
                log.exception("A front process was not understood.")
                self._answer_error(message.content.get("number"), error)
        for run in list(self._runs.values()):
            run.cancel()
        call_in(self._loop, self._leave_all)

    def _answer(self, number: int, *parts: bytes, **content: Any) -> None:
        self._link.send({"number": number, "kind": "answer", **content}, *parts)

    def _answer_error(self, number: int | None, error: Exception) -> None:
        if number is not None:
            self._link.send({"number": number, "kind": "error", "message": str(error), "user": is_users(error)})

    # Who may speak: in the event loop, which the admission belongs to.

    def _do_enter(self, message: Message) -> None:
        call_in(self._loop, self._begin_to_enter, message.content)

    def _do_leave(self, message: Message) -> None:
        call_in(self._loop, self._leave, message.content["number"])

    def _begin_to_enter(self, content: dict[str, Any]) -> None:
        self._entering[content["number"]] = self._loop.create_task(self._enter(content))

    async def _enter(self, content: dict[str, Any]) -> Ticket | None:
        number = content["number"]
        key = Key(content["key"], b"", content["most"]) if "key" in content else None
        try:
            ticket = await self._admission.enter(key, content["need"])
        except ApiError as error:
            del self._entering[number]
            about = {"status": error.status, "message": error.message, "code": error.code, "headers": error.headers}
            self._link.send({"number": number, "kind": "refused", **about})
            return None
        self._answer(number)
        return ticket

    def _leave(self, number: int) -> None:
        entering = self._entering.pop(number, None)
        if entering is not None:
            entering.add_done_callback(_give_back)
            entering.cancel()

    def _leave_all(self) -> None:
        for number in list(self._entering):
            self._leave(number)

    # Segments.

    def _do_voice(self, message: Message) -> None:
        self._voices.add(message.content["name"], unpack_voice(*message))

    def _do_speak(self, message: Message) -> None:
        content, number = message.content, message.content["number"]
        self._voices.knows(content["voice"])  # it is the latest one on both sides
        run = SegmentRun(
            self._tts, self._link, self._voices[content["voice"]], content, partial(self._runs.pop, number)
        )
        self._runs[number] = run
        self._threads.submit(run)

    def _do_id(self, message: Message) -> None:
        if (run := self._runs.get(message.content["number"])) is not None:
            run.arrived(message.content["id"])

    def _do_cancel(self, message: Message) -> None:
        if (run := self._runs.get(message.content["number"])) is not None:
            run.cancel()

    # Everything else.

    def _do_bytes(self, message: Message) -> None:
        self._answer(
            message.content["number"], bytes=self._tts.stream_bytes(message.content["ids"], message.content["steps"])
        )

    def _do_clone(self, message: Message) -> None:
        self._apart(message, self._clone)

    def _clone(self, content: dict[str, Any]) -> None:
        voice = self._tts.clone(content["wav"], content["text"], **content["info"])
        voice.save(Path(content["path"]))
        self._answer(content["number"], advice=list(voice.advice))

    def _do_page(self, message: Message) -> None:
        self._apart(message, lambda content: self._answer(content["number"], self._metrics.page()))

    def _do_answered(self, message: Message) -> None:
        self._metrics.answered(*message.content["figures"])

    def _do_ended(self, message: Message) -> None:
        self._metrics.ended(Spoken(*message.content["figures"]))

    def _do_refused(self, message: Message) -> None:
        self._metrics.refused(*message.content["figures"])

    def _apart(self, message: Message, work: Callable[[dict[str, Any]], None]) -> None:
        """What takes a while, beside the messages that follow."""

        def run() -> None:
            try:
                work(message.content)
            except Exception as error:
                if not isinstance(error, MamTraError):
                    log.exception("A request of a front process failed.")
                self._answer_error(message.content["number"], error)

        threading.Thread(target=run, daemon=True).start()


def _give_back(entering: asyncio.Task[Ticket | None]) -> None:
    """The slot of a request that has ended, or that came when nobody wanted it any more."""
    if not entering.cancelled() and (ticket := entering.result()) is not None:
        ticket.leave()
