"""Home Assistant's protocol: Wyoming events over TCP, with text that arrives while it is spoken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_read_event, async_write_event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped

from mamtra.serve.catalogue import about_voice
from mamtra.serve.errors import ApiError, as_api_error
from mamtra.serve.listeners import ACCEPTED_AT_ONCE, listen
from mamtra.serve.live import TextFeed
from mamtra.serve.speaker import Speaker
from mamtra.version import VERSION

log = logging.getLogger("mamtra.serve")
IDLE_SECONDS = 300.0
_NO_EVENT = (asyncio.TimeoutError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading raises where nothing comes, the client leaves, or what it says is no event."""
_US = Attribution("MamTra", "")


@asynccontextmanager
async def wyoming_server(speaker: Speaker, host: str, port: int) -> AsyncIterator[int]:
    """Answer within; gives the port, which is a free one for port 0."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _Connection(speaker, reader, writer).run()
        finally:
            connections.discard(task)

    sockets = listen(host, port, speaker.settings.stall_seconds)
    servers = [await asyncio.start_server(connected, sock=each, backlog=ACCEPTED_AT_ONCE) for each in sockets]
    try:
        yield sockets[0].getsockname()[1]
    finally:
        for server in servers:
            server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


class _Bounded:
    """What events are read from: an event may announce only as many bytes as a request may have.

    Args:
        reader: from the client.
        most: bytes.
    """

    def __init__(self, reader: asyncio.StreamReader, most: int) -> None:
        self._most, self.readline, self._read = most, reader.readline, reader.readexactly

    async def readexactly(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            ValueError: they are too many.
        """
        if count > self._most:
            raise ValueError(f"{count} bytes are too many")
        return await self._read(count)


class _Connection:
    """One client; its utterances are spoken one after the other.

    Args:
        speaker: speaks.
        reader: from the client.
        writer: to the client.
    """

    def __init__(self, speaker: Speaker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._speaker, self._writer = speaker, writer
        self._reader: Any = _Bounded(reader, speaker.settings.most_body)
        self._feed: TextFeed | None = None
        self._task: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Until the client leaves, or says nothing for long."""
        try:
            while (event := await asyncio.wait_for(async_read_event(self._reader), IDLE_SECONDS)) is not None:
                try:
                    await self._take(event)
                except ApiError as error:
                    await self._tell(error)
        except _NO_EVENT as error:
            log.info("A Wyoming client was left: %s.", type(error).__name__)
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def _take(self, event: Event) -> None:
        """Act on an event; those of other services are ignored.

        Raises:
            ApiError: it cannot be done.
        """
        if Describe.is_type(event.type):
            await self._send(_info(self._speaker).event())
        elif Ping.is_type(event.type):
            await self._send(Pong(Ping.from_event(event).text).event())
        elif SynthesizeStart.is_type(event.type):
            self._begin(SynthesizeStart.from_event(event).voice, streams=True)
        elif SynthesizeChunk.is_type(event.type) and self._feed is not None:
            self._push(SynthesizeChunk.from_event(event).text)
        elif SynthesizeStop.is_type(event.type) and self._feed is not None:
            self._feed.end()
            self._feed = None
        elif (
            Synthesize.is_type(event.type) and self._feed is None
        ):  # within a stream it repeats the text, for old servers
            whole = Synthesize.from_event(event)
            text = self._speaker.check_text(whole.text)
            self._begin(whole.voice, streams=False)
            self._push(text)
            self._end()

    def _begin(self, voice: Any, *, streams: bool) -> None:
        self._end()
        before, feed = self._task, TextFeed()
        order = self._speaker.order(voice=voice.name if voice else None, fmt="pcm")
        self._feed = feed

        async def speak() -> None:
            if before is not None:
                await before
            shape = {"rate": order.rate, "width": 2, "channels": 1}
            try:
                async with self._speaker.speak(feed, order, None) as speaking:
                    await self._send(AudioStart(**shape).event())
                    async for piece in speaking:
                        if piece.data:
                            await self._send(AudioChunk(audio=piece.data, **shape).event())
                    await self._send(AudioStop().event())
                if streams:
                    await self._send(SynthesizeStopped().event())
            except OSError:
                pass  # the client has gone
            except Exception as error:
                await self._tell(as_api_error(error))

        self._task = asyncio.create_task(speak())

    def _end(self) -> None:
        """No more text comes for what is being spoken."""
        if self._feed is not None:
            self._feed.end()
            self._feed = None

    def _push(self, text: str) -> None:
        if self._feed is None:
            return
        most = self._speaker.settings.most_characters
        if self._feed.characters + len(text) > most:
            self._end()
            raise ApiError(400, f"A text holds {most:,} characters at most.", code="text_too_long")
        self._feed.push(text)

    async def _tell(self, error: ApiError) -> None:
        with contextlib.suppress(OSError):
            await self._send(Error(text=error.message, code=error.code).event())

    async def _send(self, event: Event) -> None:
        async with self._sending:
            try:
                await asyncio.wait_for(async_write_event(event, self._writer), self._speaker.settings.stall_seconds)
            except asyncio.TimeoutError as error:
                self._writer.close()
                raise ConnectionError("The client takes nothing.") from error


def _info(speaker: Speaker) -> Info:
    """What Home Assistant asks first: the voices."""
    voices = []
    for name in speaker.tts.voices:
        about = about_voice(speaker, name)
        languages = [about.get("language") or "en"]
        description = about.get("description") or name
        voices.append(TtsVoice(name, _US, True, description, VERSION, languages=languages))
    program = TtsProgram(
        "mamtra", _US, True, "MamTra text to speech", VERSION, voices=voices, supports_synthesize_streaming=True
    )
    return Info(tts=[program])
