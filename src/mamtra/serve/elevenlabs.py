"""ElevenLabs over HTTP: `/v1/text-to-speech/{voice}`, its stream, both with times, and `/v1/voices`."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from mamtra.audio.formats import MIME
from mamtra.serve.answers import StreamedAnswer, begin_speech, pieces, while_listening
from mamtra.serve.catalogue import about_voice
from mamtra.serve.elevenlabs_words import http_alignment, parse_format
from mamtra.serve.errors import as_api_error
from mamtra.serve.live import TextFeed
from mamtra.serve.openapi import ERRORS
from mamtra.serve.schemas import FlowSteps
from mamtra.serve.speaker import LARGEST_SEED, Speaker
from mamtra.serve.speaking import Piece
from mamtra.synthesis.live_words import WordTimes
from mamtra.synthesis.word_times import Word

_AUDIO: dict[int | str, dict[str, Any]] = {200: {"description": "The sound.", "content": {"audio/mpeg": {}}}, **ERRORS}
_TIMED: dict[int | str, dict[str, Any]] = {200: {"description": "Sound in base64 with times."}, **ERRORS}


class VoiceSettings(BaseModel):
    """Of these settings only the speed means something here."""

    model_config = ConfigDict(extra="ignore")

    speed: Annotated[float, Field(allow_inf_nan=False)] | None = None


class SpeechBody(BaseModel):
    """A text that is to be spoken. Fields that are not named here are ignored."""

    model_config = ConfigDict(extra="ignore")

    text: str = Field(examples=["Good morning."])
    model_id: str | None = Field(None, max_length=200)
    language_code: str | None = Field(None, max_length=35)
    voice_settings: VoiceSettings | None = None
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED, strict=True)
    flow_steps: FlowSteps = None


Format = Annotated[str, Query(alias="output_format", max_length=40)]


def elevenlabs_routes(speaker: Speaker) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["ElevenLabs"])

    async def answer(
        request: Request, voice: str, body: SpeechBody, output_format: str, *, timed: bool = False, whole: bool = False
    ) -> Response:
        speaker.check_model(body.model_id)
        fmt, rate = parse_format(output_format)
        speed = (body.voice_settings and body.voice_settings.speed) or 1.0
        name = speaker.names.find(voice, speaker.tts.voices, status=404)
        order = speaker.order(
            voice=name, seed=body.seed, speed=speed, language=body.language_code, fmt=fmt, rate=rate,
            flow_steps=body.flow_steps,
        )  # fmt: skip
        text = speaker.check_text(body.text)
        feed = TextFeed([text], ended=True) if timed else text  # which gives the sentences as they are written
        speaking, first, resources = await begin_speech(request, speaker, feed, order)
        found = pieces(first, speaking)
        words = _timed(found, speaker.word_times(order))
        if whole:
            async with resources:
                return JSONResponse(await while_listening(request, _whole(words)))
        headers = {"X-Seed": str(order.seed), "X-Sample-Rate": str(order.rate), "X-AI-Generated": "true"}
        parts = _lines(words) if timed else (piece.data async for piece in found if piece.data)
        media_type = "application/json" if timed else MIME[order.fmt]
        return StreamedAnswer(parts, headers, media_type, speaker.settings.stall_seconds, resources)

    @router.post("/v1/text-to-speech/{voice}", responses=_AUDIO, response_class=Response)
    @router.post("/v1/text-to-speech/{voice}/stream", responses=_AUDIO, response_class=Response)
    async def speak(
        request: Request, voice: str, body: SpeechBody, output_format: Format = "mp3_44100_128"
    ) -> Response:
        """Speak a text, sent while it is made."""
        return await answer(request, voice, body, output_format)

    @router.post("/v1/text-to-speech/{voice}/with-timestamps", responses=_TIMED, response_class=Response)
    async def timed(
        request: Request, voice: str, body: SpeechBody, output_format: Format = "mp3_44100_128"
    ) -> Response:
        """Speak a text, with the time of every character."""
        return await answer(request, voice, body, output_format, timed=True, whole=True)

    @router.post("/v1/text-to-speech/{voice}/stream/with-timestamps", responses=_TIMED, response_class=Response)
    async def timed_stream(
        request: Request, voice: str, body: SpeechBody, output_format: Format = "mp3_44100_128"
    ) -> Response:
        """The same as lines of JSON while it is made."""
        return await answer(request, voice, body, output_format, timed=True)

    @router.get("/v1/voices")
    def voices() -> dict[str, Any]:
        """Voices, as ElevenLabs lists them."""
        return {"voices": [_listed(about_voice(speaker, name)) for name in speaker.tts.voices]}

    return router


async def _timed(found: AsyncIterator[Piece], times: WordTimes) -> AsyncIterator[tuple[bytes, list[Word]]]:
    async for piece in found:
        yield piece.data, times.push(piece.text, piece.seconds, piece.final, piece.spans)
    if left := times.end():
        yield b"", left


async def _whole(found: AsyncIterator[tuple[bytes, list[Word]]]) -> dict[str, Any]:
    data, words = b"", list[Word]()
    async for part, more in found:
        data, words = data + part, words + more
    return _timed_json(data, words)


async def _lines(found: AsyncIterator[tuple[bytes, list[Word]]]) -> AsyncIterator[bytes]:
    try:
        async for data, words in found:
            if data or words:
                yield json.dumps(_timed_json(data, words)).encode() + b"\n"
    except Exception as error:
        yield json.dumps(as_api_error(error).body).encode() + b"\n"
        raise


def _timed_json(data: bytes, words: list[Word]) -> dict[str, Any]:
    alignment = http_alignment(words) if words else None
    return {"audio_base64": base64.b64encode(data).decode(), "alignment": alignment, "normalized_alignment": alignment}


def _listed(about: dict[str, Any]) -> dict[str, Any]:
    category = "cloned" if about.get("removable") else "premade"
    labels = {key: about[key] for key in ("language", "gender") if about.get(key)}
    return {"voice_id": about["id"], "name": about["name"], "category": category, "labels": labels,
            "description": about.get("description", "")}  # fmt: skip
