"""What can be asked for: models and voices, in the forms of several clients."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable
from mamtra.serve.errors import ApiError
from mamtra.serve.openapi import error_answers
from mamtra.serve.speaker import Speaker
from mamtra.version import VERSION
from mamtra.voices.info import read_info


def catalogue_routes(speaker: Speaker) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["catalogue"], responses=error_answers(401, 403))
    tts = speaker.tts

    @router.get("/v1/", include_in_schema=False)
    @router.get("/v1")
    async def root() -> dict[str, Any]:
        """What answers here; clients call it to open a connection early."""
        return {"object": "server", "name": "mamtra", "version": VERSION, "model": tts.model.name}

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """Models, as OpenAI lists them."""
        return {"object": "list", "data": [_model(speaker, name) for name in speaker.models]}

    @router.get("/v1/models/{name:path}", responses=error_answers(404))
    async def model(name: str) -> dict[str, Any]:
        """A model."""
        if name not in speaker.models:
            raise ApiError(404, f"There is no model {printable(name)!r}.", param="model", code="model_not_found")
        return _model(speaker, name)

    @router.get("/v1/audio/models")
    async def audio_models() -> dict[str, Any]:
        """Models, as Open WebUI lists them."""
        return {"models": [{"id": name, "name": name} for name in speaker.models]}

    @router.get("/v1/audio/voices")
    def voices() -> dict[str, Any]:
        """Voices, as Open WebUI lists them, with what is known about each; then the names that stand for them."""
        aliases = {alias: name for alias, name in speaker.names.aliases.items() if alias not in tts.voices}
        return {
            "object": "list",
            "voices": [*(about_voice(speaker, name) for name in tts.voices),
                       *({"id": alias, "name": f"{alias} ({name})", "alias_of": name} for alias, name in aliases.items())],
        }  # fmt: skip

    return router


def about_voice(speaker: Speaker, name: str) -> dict[str, Any]:
    """What is known about a voice."""
    library = speaker.tts.library
    found: dict[str, Any] = {"id": name, "name": name, "object": "audio.voice"}
    path = library.paths().get(name)
    if path is None:
        return found  # a preset speaker
    try:
        info = read_info(path)
    except MamTraError:
        return {**found, "damaged": True}
    facts = info.model_dump(include={"language", "gender", "description", "licence"})
    return {**found, **facts, "removable": library.is_users(name)}


def _model(speaker: Speaker, name: str) -> dict[str, Any]:
    kinds = speaker.tts.model.config["lm"]["layer_types"]
    layers = ["attention" if kind == "full_attention" else "mamba2" for kind in kinds]
    return {"id": name, "object": "model", "created": 0, "owned_by": "mamtra", "layers": layers}
