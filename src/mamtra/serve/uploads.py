"""Voices that users add and remove: `POST` and `DELETE /v1/audio/voices`."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile

from mamtra.audio.io import decode_audio, write_audio
from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable
from mamtra.serve.catalogue import about_voice
from mamtra.serve.errors import ApiError
from mamtra.serve.openapi import error_answers
from mamtra.serve.speaker import Speaker
from mamtra.voices.info import check_name
from mamtra.voices.voice import Voice

_FIELD = "audio_sample"


def upload_routes(speaker: Speaker) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["voices"], responses=error_answers(400, 401, 403))
    one_at_a_time = asyncio.Lock()

    @router.post("/v1/audio/voices", status_code=201, responses=error_answers(408, 409, 413, 500))
    async def add_voice(
        name: Annotated[str, Form(max_length=64, description="Letters, digits, dot, dash and underscore.")],
        consent: Annotated[str, Form(max_length=1000, description="How the speaker agreed; kept in the voice.")],
        audio_sample: Annotated[UploadFile, File(description="1 to 30 s of one person, 16 kHz or more.")],
        ref_text: Annotated[str | None, Form(max_length=4096, description="What is said in it.")] = None,
        language: Annotated[str, Form(max_length=35)] = "en",
        description: Annotated[str, Form(max_length=1000)] = "",
    ) -> dict[str, Any]:
        """Make a voice of a recording. Only of one whose speaker agrees."""
        if not consent.strip():
            raise ApiError(400, "Say in consent how the speaker agreed.", param="consent", code="consent_required")
        content = await audio_sample.read()
        facts = {"language": language, "description": description, "consent": consent.strip()}
        async with one_at_a_time:
            voice = await asyncio.to_thread(_add, speaker, name, content, ref_text, facts)
        return {**about_voice(speaker, name), "seconds": round(voice.seconds, 2), "advice": list(voice.advice)}

    @router.delete("/v1/audio/voices/{name}", responses=error_answers(404))
    async def remove_voice(name: str) -> dict[str, Any]:
        """Remove a voice that was added."""
        library = speaker.tts.library
        _check_allowed(speaker)
        if name not in library.paths():
            raise ApiError(404, f"There is no voice {printable(name)!r}.", param="name", code="voice_not_found")
        if not library.is_users(name):
            raise ApiError(403, f"The voice {name} came with the model and stays.", param="name", code="not_removable")
        library.remove(name)
        return {"id": name, "object": "audio.voice", "deleted": True}

    return router


def _check_allowed(speaker: Speaker) -> None:
    if not speaker.settings.uploads:
        raise ApiError(403, "Voices are fixed on this server.", code="uploads_off")


def _add(speaker: Speaker, name: str, content: bytes, text: str | None, facts: dict[str, str]) -> Voice:
    """Make and store a voice; in a thread.

    Raises:
        ApiError: see the sentences below.
        MamTraError: the recording cannot serve.
    """
    settings, library = speaker.settings, speaker.tts.library
    _check_allowed(speaker)
    try:
        check_name(name)
    except MamTraError as error:
        raise ApiError(400, str(error), param="name", code="invalid_name") from error
    if name in speaker.tts.voices or name in speaker.names.aliases:
        raise ApiError(409, f"The name {name} is taken; choose another.", param="name", code="name_taken")
    if sum(library.is_users(each) for each in library.paths()) >= settings.most_voices:
        raise ApiError(403, f"{settings.most_voices} voices were added already; remove one.", code="too_many_voices")
    with tempfile.TemporaryDirectory() as folder:
        # decoded within bounds once, and written plainly: what reads it next meets no foreign format
        path = Path(folder) / f"{_FIELD}.wav"
        try:
            write_audio(path, *decode_audio(content, _FIELD, max_seconds=settings.upload_seconds), "wav")
            voice = speaker.tts.clone(path, text, name=name, source="", **facts)
        except MamTraError as error:
            message = str(error).replace(str(path), _FIELD)
            raise ApiError(400, message, param=_FIELD, code="unusable_recording") from error
    library.add(voice)
    return voice
