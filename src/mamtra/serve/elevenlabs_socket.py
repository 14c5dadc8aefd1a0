"""ElevenLabs over WebSockets: text while it is written in, audio with times out, several contexts on a connection."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, WebSocket

from mamtra.serve.elevenlabs_words import Alignment, parse_format
from mamtra.serve.errors import ApiError, as_api_error
from mamtra.serve.keys import Key
from mamtra.serve.line import POLICY, TOO_LONG_SILENT, HungUp, Line
from mamtra.serve.live import TextFeed
from mamtra.serve.speaker import Order, Speaker

MOST_CONTEXTS = 8
LONGEST_INACTIVITY = 180.0


def elevenlabs_socket_routes(speaker: Speaker) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.websocket("/v1/text-to-speech/{voice}/multi-stream-input")
    async def several(socket: WebSocket, voice: str) -> None:
        await _serve(socket, voice, one=False)

    @router.websocket("/v1/text-to-speech/{voice}/stream-input")
    async def single(socket: WebSocket, voice: str) -> None:
        await _serve(socket, voice, one=True)

    async def _serve(socket: WebSocket, voice: str, *, one: bool) -> None:
        await socket.accept()
        line = Line(socket, speaker.settings.stall_seconds)
        try:
            order = _order(speaker, voice, socket)
        except ApiError as error:
            await line.send({"error": error.message, "code": error.code})
            await line.close(POLICY, error.message)
            return
        query = socket.query_params
        absolute = query.get("sync_alignment") == "true"
        conversation = _Conversation(speaker, line, order, socket.state.key, absolute, one)
        await conversation.run(_seconds(query.get("inactivity_timeout")))

    return router


def _order(speaker: Speaker, voice: str, socket: WebSocket) -> Order:
    query = socket.query_params
    speaker.check_model(query.get("model_id"))
    fmt, rate = parse_format(query.get("output_format", "mp3_44100_128"))
    return speaker.order(
        voice=voice, seed=_number(query.get("seed")), fmt=fmt, rate=rate, language=query.get("language_code"),
        flow_steps=_number(query.get("flow_steps")),
    )  # fmt: skip


def _number(given: str | None) -> int | None:
    return int(given) if given and given.isdecimal() and len(given) < 18 else None


def _seconds(given: str | None) -> float:
    """Seconds without a message after which the connection ends."""
    try:
        return min(LONGEST_INACTIVITY, max(1.0, float(given or 20)))
    except ValueError:
        return 20.0


class _Conversation:
    """One connection and its contexts.

    Args:
        speaker: speaks.
        line: the connection.
        order: how to speak.
        key: whose slots are taken.
        absolute: see `Alignment`.
        one: there is a single context without a name, which an empty text ends.
    """

    def __init__(
        self,
        speaker: Speaker,
        line: Line,
        order: Order,
        key: Key | None,
        absolute: bool,
        one: bool,
    ) -> None:
        self.speaker, self.line, self.order, self.key = speaker, line, order, key
        self.absolute, self.one = absolute, one
        self.contexts: dict[str | None, _Context] = {}

    async def run(self, patience: float) -> None:
        """Until one of both sides ends it; what is being spoken then is cancelled."""
        code, reason = 1000, ""
        try:
            while not (self.one and self.contexts and all(each.ended for each in self.contexts.values())):
                try:
                    message = await self.line.receive(patience)
                    if message.get("close_socket") is True:
                        break
                    self._take(message)
                except ApiError as error:
                    await self.line.send({"error": error.message, "code": error.code})
                except HungUp as end:
                    if end.code != TOO_LONG_SILENT or not self.contexts:
                        raise
                    for context in self.contexts.values():
                        context.finish()  # no text came for long, so none is waited for
            if self.one:
                await asyncio.gather(*(each.task for each in self.contexts.values()))
        except HungUp as end:
            code, reason = end.code or 1000, end.reason
        finally:
            tasks = [each.task for each in self.contexts.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.line.close(code, reason)

    def _take(self, message: dict[str, Any]) -> None:
        """Act on a message. What concerns a context that is not there any more is no mistake: messages cross.

        Raises:
            ApiError: it makes no sense.
        """
        name, text = message.get("context_id", message.get("contextId")), message.get("text")
        if not (name is None or (isinstance(name, str) and len(name) <= 200)):
            raise ApiError(400, "context_id has to be a string.", param="context_id", code="invalid_value")
        if not (text is None or isinstance(text, str)):
            raise ApiError(400, "text has to be a string.", param="text", code="invalid_value")
        name = None if self.one else name
        context = self.contexts.get(name)
        if context is None and text:
            if len(self.contexts) >= MOST_CONTEXTS:
                raise ApiError(400, f"A connection has {MOST_CONTEXTS} contexts at most.", code="too_many_contexts")
            context = self.contexts[name] = _Context(self, name, message)
        if context is None:
            return
        if text:
            context.push(text)
        if message.get("flush") or (self.one and message.get("try_trigger_generation")):
            context.feed.flush()
        if message.get("close_context") or (self.one and text == ""):
            context.close()


class _Context:
    """A text that arrives and is spoken.

    Args:
        conversation: it is part of.
        name: of it.
        opening: its first message.
    """

    def __init__(self, conversation: _Conversation, name: str | None, opening: dict[str, Any]) -> None:
        self._conversation, self._name = conversation, name
        self.feed = TextFeed()
        self.ended = False
        self._words = asyncio.Event()
        self._speed = _speed(opening)
        self.task = asyncio.create_task(self._run())

    def push(self, text: str) -> None:
        """More text.

        Raises:
            ApiError: it is too long, or ended before.
        """
        most = self._conversation.speaker.settings.most_characters
        if self.ended:
            raise ApiError(400, "This context is closed; open another one.", param="context_id", code="context_closed")
        if self.feed.characters + len(text) > most:
            raise ApiError(400, f"A context holds {most:,} characters at most.", param="text", code="text_too_long")
        self.feed.push(text)
        if text.strip():
            self._words.set()

    def close(self) -> None:
        """No more text comes: what came is spoken to its end. Closed again, it is given up at once."""
        if self.ended:
            self.task.cancel()
        self.finish()

    def finish(self) -> None:
        """No more text comes: what came is spoken to its end."""
        if not self.ended:
            self.ended = True
            self.feed.end()
            self._words.set()

    async def _run(self) -> None:
        """Speak, and tell the end, however it comes."""
        with_name = {} if self._name is None else {"contextId": self._name}
        last: list[dict[str, Any]] = [{"isFinal": True, **with_name}]
        try:
            await self._words.wait()  # a slot is taken once there is something to say
            await self._speak()
        except asyncio.CancelledError:
            pass  # nobody wants the rest
        except HungUp:
            last = []
        except Exception as error:
            found = as_api_error(error)
            last.insert(0, {"error": found.message, "code": found.code, **with_name})
        self.ended = True
        if not self._conversation.one:
            self._conversation.contexts.pop(self._name, None)
        with contextlib.suppress(HungUp):
            for content in last:
                await self._conversation.line.send(content)

    async def _speak(self) -> None:
        conversation = self._conversation
        speaker = conversation.speaker
        order = conversation.order if self._speed is None else replace(conversation.order, speed=self._speed)
        times, alignment = speaker.word_times(order), Alignment(conversation.absolute)
        async with speaker.speak(self.feed, order, conversation.key) as speaking:
            async for piece in speaking:
                await self._send(piece.data, alignment, times.push(piece.text, piece.seconds, piece.final, piece.spans))
            await self._send(b"", alignment, times.end())

    async def _send(self, data: bytes, alignment: Alignment, words: list[Any]) -> None:
        if not (data or words):
            return
        times = alignment.of(words)
        content: dict[str, Any] = {"audio": base64.b64encode(data).decode() if data else None}
        if self._name is not None:
            content["contextId"] = self._name
        await self._conversation.line.send({**content, "alignment": times, "normalizedAlignment": times})


def _speed(message: dict[str, Any]) -> float | None:
    settings = message.get("voice_settings")
    given = settings.get("speed") if isinstance(settings, dict) else None
    # bounded first: a whole number may be too large for a float
    return float(min(2.0, max(0.5, given))) if isinstance(given, int | float) and given == given else None
