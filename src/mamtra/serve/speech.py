"""`POST /v1/audio/speech`: text to sound, while it is made."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from starlette.responses import JSONResponse, Response

from mamtra.audio.formats import MIME
from mamtra.serve.answers import StreamedAnswer, begin_speech, pieces, while_listening
from mamtra.serve.errors import as_api_error
from mamtra.serve.openapi import ERRORS
from mamtra.serve.schemas import EXAMPLES, SpeechRequest
from mamtra.serve.speaker import Order, Speaker
from mamtra.serve.speaking import Piece, Speaking
from mamtra.synthesis.spans import words_of

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The sound, events with it, or with `word_timestamps` JSON with it and its words.",
        "content": {
            **{mime: {"schema": {"type": "string", "format": "binary"}} for mime in sorted(set(MIME.values()))},
            "text/event-stream": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
        "headers": {
            "X-Seed": {"schema": {"type": "integer"}, "description": "Gives the same audio again."},
            "X-Sample-Rate": {"schema": {"type": "integer"}},
        },
    },
    **ERRORS,
}


def speech_routes(speaker: Speaker) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.post("/v1/audio/speech", responses=_ANSWERS, response_class=Response, tags=["speech"])
    async def speech(request: Request, body: Annotated[SpeechRequest, Body(openapi_examples=EXAMPLES)]) -> Response:
        """Speak a text. The bytes are sent while the speech is made, in every format."""
        speaker.check_model(body.model)
        order = speaker.order(
            voice=body.voice_name,
            seed=body.seed,
            speed=1.0 if body.speed is None else body.speed,
            instructions=body.instructions,
            language=body.language,
            fmt=body.response_format.lower(),
            rate=body.sample_rate,
            whole=body.stream is False,
            flow_steps=body.flow_steps,
        )
        text = speaker.check_text(body.input)
        speaking, first, resources = await begin_speech(request, speaker, text, order)
        headers = {"X-Seed": str(order.seed), "X-Sample-Rate": str(order.rate), "X-AI-Generated": "true"}
        if body.instructions and order.instruct is None:
            headers["X-Ignored"] = "instructions"
        if body.stream_format == "sse":
            timed = bool(body.word_timestamps)
            parts = _events(speaker, text, pieces(first, speaking), speaking, timed=timed)
            headers["Cache-Control"] = "no-cache"
            return StreamedAnswer(parts, headers, "text/event-stream", speaker.settings.stall_seconds, resources)
        if body.word_timestamps:
            async with resources:
                answer = await while_listening(request, _timed(speaker, order, pieces(first, speaking), speaking))
            return JSONResponse(answer, headers=headers)
        if order.whole:
            await resources.aclose()
            return Response(first.data, headers=headers, media_type=MIME[order.fmt])
        parts = (piece.data async for piece in pieces(first, speaking) if piece.data)
        return StreamedAnswer(parts, headers, MIME[order.fmt], speaker.settings.stall_seconds, resources)

    return router


async def _events(
    speaker: Speaker, text: str, pieces: AsyncIterator[Piece], speaking: Speaking, *, timed: bool
) -> AsyncIterator[bytes]:
    """OpenAI's events."""
    try:
        async for piece in pieces:
            if piece.data:
                yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece.data).decode()})
    except Exception as error:
        yield _event({"type": "speech.audio.error", **as_api_error(error).body})
        return
    read = await asyncio.to_thread(speaker.count_text, text)
    usage = {"input_tokens": read, "output_tokens": speaking.tokens, "total_tokens": read + speaking.tokens}
    words = {"words": await _words(speaker, speaking)} if timed else {}
    yield _event({"type": "speech.audio.done", "usage": usage, **words})
    yield b"data: [DONE]\n\n"


async def _timed(speaker: Speaker, order: Order, pieces: AsyncIterator[Piece], speaking: Speaking) -> dict[str, Any]:
    """One JSON object with the sound and its words."""
    data = b"".join([piece.data async for piece in pieces])
    about = {"format": order.fmt, "sample_rate": order.rate, "seed": order.seed}
    return {"audio": base64.b64encode(data).decode(), **about, "words": await _words(speaker, speaking)}


async def _words(speaker: Speaker, speaking: Speaking) -> list[dict[str, Any]]:
    found = await asyncio.to_thread(words_of, speaking.spans, speaker.word_weight, speaker.space)
    return [{"word": w.text.strip(), "start": round(w.start, 3), "end": round(w.end, 3)} for w in found]


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"
