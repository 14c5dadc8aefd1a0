"""Voices on their way to the process with the model: each is sent once, and named by its content from then on."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from mamtra.voices.info import VoiceInfo
from mamtra.voices.voice import MEL_BANDS, Voice

KEPT = 64
"""Voices that both sides know; instructions and modes make voices of their own."""
_FIELDS = {"prompt_text": np.int64, "prompt_speech": np.int64, "prompt_mel": np.float32, "embedding": np.float32}


class KnownVoices:
    """The latest voices of a link. Both sides are told of the same voices in the same order, so they forget the same ones."""

    def __init__(self) -> None:
        self._voices: OrderedDict[str, Voice] = OrderedDict()

    def knows(self, name: str) -> bool:
        """Whether a voice is here, which is then the latest one."""
        if name in self._voices:
            self._voices.move_to_end(name)
        return name in self._voices

    def add(self, name: str, voice: Voice) -> None:
        """A voice that was not known."""
        self._voices[name] = voice
        if len(self._voices) > KEPT:
            self._voices.popitem(last=False)

    def __getitem__(self, name: str) -> Voice:
        return self._voices[name]


def name_of(voice: Voice) -> str:
    """A name for everything that is heard of a voice."""
    text = np.asarray(voice.prompt_text, np.int64).tobytes()
    return f"{voice.prompt_digest}-{hashlib.sha256(text).hexdigest()}-{voice.instructed:d}-{voice.name}"


def pack_voice(voice: Voice) -> tuple[dict[str, Any], list[bytes]]:
    """Content and parts of a message."""
    own = voice.to("numpy")
    parts = [np.ascontiguousarray(getattr(own, name), kind).tobytes() for name, kind in _FIELDS.items()]
    return {"info": voice.info.model_dump(), "instructed": voice.instructed}, parts


def unpack_voice(content: dict[str, Any], parts: Sequence[bytes]) -> Voice:
    """The voice of a message, with torch's arrays."""
    arrays = {name: np.frombuffer(part, kind) for (name, kind), part in zip(_FIELDS.items(), parts, strict=True)}
    arrays["prompt_mel"] = arrays["prompt_mel"].reshape(-1, MEL_BANDS)
    return Voice(VoiceInfo(**content["info"]), **arrays, instructed=content["instructed"]).to("torch")
