"""`/v1/audio/speech/stream`: a WebSocket on which text arrives and audio leaves sentence by sentence, as vllm-omni has it.

In: ``session.config`` (once, first), ``input.text``, ``input.done`` (what came is spoken to its end), ``session.close``. Out:
``audio.start`` with a sentence, bytes, ``audio.done``, and ``session.done`` when all that came before an ``input.done`` is spoken.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mamtra.runtime.strict_models import first_problem
from mamtra.serve.errors import ApiError, as_api_error
from mamtra.serve.keys import Key
from mamtra.serve.line import TOO_LONG_SILENT, HungUp, Line
from mamtra.serve.live import TextFeed
from mamtra.serve.schemas import FlowSteps, VoiceId
from mamtra.serve.speaker import LARGEST_SEED, Order, Speaker
from mamtra.serve.speaking import Piece
from mamtra.synthesis.live_words import WordTimes
from mamtra.synthesis.word_times import Word

CONFIG_SECONDS, IDLE_SECONDS = 10.0, 30.0


class Config(BaseModel):
    """How to speak. Fields that are not named here are ignored."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["session.config"] = "session.config"
    model: str | None = Field(None, max_length=200)
    voice: str | VoiceId | None = None
    response_format: str = Field("pcm", max_length=20)
    speed: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED, strict=True)
    flow_steps: FlowSteps = None
    language: str | None = Field(None, max_length=35)
    instructions: str | None = Field(None, max_length=4096)
    sample_rate: int | None = None
    word_timestamps: bool = False


def speech_socket_routes(speaker: Speaker) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.websocket("/v1/audio/speech/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await _Session(speaker, Line(socket, speaker.settings.stall_seconds), socket.state.key).run()

    return router


class _Session:
    """One connection: utterances one after the other.

    Args:
        speaker: speaks.
        line: the connection.
        key: whose slots are taken.
    """

    def __init__(self, speaker: Speaker, line: Line, key: Key | None) -> None:
        self._speaker, self._line, self._key = speaker, line, key
        self._feed: TextFeed | None = None
        self._last: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until one of both sides ends it."""
        code, reason = 1000, ""
        try:
            order, timed = await self._configured()
            while await self._take(order, timed):
                pass
            if self._last is not None:
                await self._last
        except HungUp as end:
            code, reason = end.code or 1000, end.reason
        except ApiError as error:  # before the session was configured
            await self._tell(error)
        finally:
            if self._last is not None:
                self._last.cancel()
                await asyncio.gather(self._last, return_exceptions=True)
            await self._line.close(code, reason)

    async def _configured(self) -> tuple[Order, bool]:
        message = await self._line.receive(CONFIG_SECONDS)
        try:
            config = Config.model_validate(message)
        except ValidationError as error:
            what = first_problem(error)
            raise ApiError(400, f"{what[:1].upper()}{what[1:]}; send session.config first.") from error
        self._speaker.check_model(config.model)
        order = self._speaker.order(
            voice=config.voice.id if isinstance(config.voice, VoiceId) else config.voice, seed=config.seed,
            speed=config.speed, instructions=config.instructions, language=config.language,
            fmt=config.response_format.lower(), rate=config.sample_rate, flow_steps=config.flow_steps,
        )  # fmt: skip
        return order, config.word_timestamps

    async def _take(self, order: Order, timed: bool) -> bool:
        """Act on a message; False for the last one."""
        try:
            message = await self._line.receive(IDLE_SECONDS)
            kind = message.get("type")
            if kind == "session.close":
                self._done()
                return False
            if kind == "input.text":
                self._text(message.get("text"), order, timed)
            elif kind == "input.done":
                if self._feed is None:
                    self._last = asyncio.create_task(self._nothing(self._last))
                self._done()
            else:
                raise ApiError(400, f"There is no message of type {str(kind)[:40]!r} here.", param="type")
        except ApiError as error:
            await self._tell(error)
        except HungUp as end:
            if end.code != TOO_LONG_SILENT or self._last is None or self._last.done():
                raise
            self._done()  # no text came for long, so none is waited for
        return True

    def _text(self, text: Any, order: Order, timed: bool) -> None:
        if not isinstance(text, str):
            raise ApiError(400, "text has to be a string.", param="text", code="invalid_value")
        if self._feed is None:
            if not text.strip():
                return
            self._feed = TextFeed()
            self._last = asyncio.create_task(self._speak(self._feed, order, timed, self._last))
        most = self._speaker.settings.most_characters
        if self._feed.characters + len(text) > most:
            raise ApiError(400, f"A text holds {most:,} characters at most.", param="text", code="text_too_long")
        self._feed.push(text)

    def _done(self) -> None:
        """What came is an utterance; the next text begins another one."""
        if self._feed is not None:
            self._feed.end()
            self._feed = None

    async def _speak(self, feed: TextFeed, order: Order, timed: bool, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        sentences = _Sentences(self._line, order, self._speaker.word_times(order) if timed else None)
        try:
            async with self._speaker.speak(feed, order, self._key) as speaking:
                async for piece in speaking:
                    await sentences.send(piece)
            await sentences.end()
            await self._line.send({"type": "session.done", "total_sentences": sentences.count})
        except HungUp:
            pass
        except Exception as error:
            await self._tell(as_api_error(error))

    async def _nothing(self, before: asyncio.Task[None] | None) -> None:
        """The end of an utterance without text."""
        if before is not None:
            await before
        with contextlib.suppress(HungUp):
            await self._line.send({"type": "session.done", "total_sentences": 0})

    async def _tell(self, error: ApiError) -> None:
        with contextlib.suppress(HungUp):
            await self._line.send({"type": "error", "message": error.message, **error.body})


class _Sentences:
    """Sends pieces between a start and an end for each sentence."""

    def __init__(self, line: Line, order: Order, times: WordTimes | None) -> None:
        self._line, self._order, self._times = line, order, times
        self.count, self._bytes, self._open = 0, 0, False
        self._words: list[Word] = []

    async def send(self, piece: Piece) -> None:
        """A piece of audio."""
        if piece.text:
            await self.end()
            start = {"type": "audio.start", "sentence_index": self.count, "sentence_text": piece.text.strip()}
            await self._line.send({**start, "format": self._order.fmt, "sample_rate": self._order.rate})
            self._open = True
        if piece.data:
            await self._line.send(piece.data)
            self._bytes += len(piece.data)
        if self._times is not None:
            self._words += self._times.push(piece.text, piece.seconds, piece.final, piece.spans)

    async def end(self) -> None:
        """The sentence is complete."""
        if not self._open:
            return
        done: dict[str, Any] = {"type": "audio.done", "sentence_index": self.count, "total_bytes": self._bytes}
        if self._times is not None:
            done["words"] = [{"word": word.text.strip(), "start": round(word.start, 3), "end": round(word.end, 3)}
                             for word in self._words]  # fmt: skip
        await self._line.send(done)
        self.count, self._bytes, self._open, self._words = self.count + 1, 0, False, []
