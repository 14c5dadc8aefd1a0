"""`POST /v1/audio/speech`: text to sound, while it is made."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from mamtra.audio.formats import MIME
from mamtra.serve.answers import StreamedAnswer, begin_speech, pieces
from mamtra.serve.errors import as_api_error
from mamtra.serve.openapi import ERRORS
from mamtra.serve.schemas import EXAMPLES, SpeechRequest
from mamtra.serve.speaker import Speaker
from mamtra.serve.speaking import Piece, Speaking

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The sound, or events with it.",
        "content": {
            **{mime: {"schema": {"type": "string", "format": "binary"}} for mime in sorted(set(MIME.values()))},
            "text/event-stream": {"schema": {"type": "string"}},
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
        )
        text = speaker.check_text(body.input)
        speaking, first, resources = await begin_speech(request, speaker, text, order)
        headers = {"X-Seed": str(order.seed), "X-Sample-Rate": str(order.rate), "X-AI-Generated": "true"}
        if body.instructions and order.instruct is None:
            headers["X-Ignored"] = "instructions"
        if body.stream_format == "sse":
            parts = _events(speaker, text, pieces(first, speaking), speaking)
            headers["Cache-Control"] = "no-cache"
            return StreamedAnswer(parts, headers, "text/event-stream", speaker.settings.stall_seconds, resources)
        if order.whole:
            await resources.aclose()
            return Response(first.data, headers=headers, media_type=MIME[order.fmt])
        parts = (piece.data async for piece in pieces(first, speaking) if piece.data)
        return StreamedAnswer(parts, headers, MIME[order.fmt], speaker.settings.stall_seconds, resources)

    return router


async def _events(
    speaker: Speaker, text: str, pieces: AsyncIterator[Piece], speaking: Speaking
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
    yield _event({"type": "speech.audio.done", "usage": usage})
    yield b"data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"
