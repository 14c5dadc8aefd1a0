"""Voices of a model by name, file or recording."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mamtra.audio.io import SUFFIXES
from mamtra.errors import MamTraError
from mamtra.synthesis.cloning import clone_voice
from mamtra.voices.library import VoiceLibrary
from mamtra.voices.voice import Voice

_STORED = "A transcript goes with a recording; a stored voice has its own."


class VoiceFinder:
    """Finds voices, and keeps files it has read.

    Args:
        model: of either runtime.
        library: the voices at hand.
    """

    def __init__(self, model: Any, library: VoiceLibrary) -> None:
        self._model, self._library = model, library
        self._read: dict[str, tuple[int, Voice]] = {}

    def find(self, voice: str | os.PathLike | Voice | None, text: str | None) -> Voice:
        """The voice of a name, a voice file or a recording, with arrays of the model's kind; the model's own where none is given.

        Args:
            voice: what to find.
            text: what is said in the recording.

        Raises:
            MamTraError: there is no such voice, or it belongs to another model.
        """
        if isinstance(voice, Voice) and text is not None:
            raise MamTraError(_STORED)
        found = (voice if isinstance(voice, Voice) else self._named(voice, text)).to(self._model.arrays)
        theirs, ours = found.info.voice_space, self._model.voice_space
        if theirs and ours and theirs != ours:
            raise MamTraError(f"The voice {found.name!r} was made for another model; make it again from its recording.")
        return found

    def _named(self, voice: str | os.PathLike | None, text: str | None) -> Voice:
        speakers = self._model.speakers
        name = (next(iter(speakers), None) or self._library.default()) if voice is None else os.fspath(voice)
        if name in speakers:
            if text is not None:
                raise MamTraError(_STORED)
            return Voice.preset(name, speakers[name], self._model.voice_space)
        path = Path(os.path.expanduser(name))
        if name in self._library.paths():
            path = self._library.path(name)
        elif path.suffix != ".safetensors":
            if path.is_file() or path.suffix.lower() in SUFFIXES:
                return clone_voice(path, self._model, text)
            if path.exists() and name:
                raise MamTraError(
                    f"{path} is {'a folder' if path.is_dir() else 'a device'}; name a voice or a recording."
                )
            path = self._library.path(name, speakers)
        if text is not None:
            raise MamTraError(_STORED)
        if not path.is_file():
            raise MamTraError(f"There is no voice file {path}.")
        changed, (read, known) = path.stat().st_mtime_ns, self._read.get(str(path), (None, None))
        if known is None or read != changed:
            known = Voice.load(path, self._model.arrays)
            self._read[str(path)] = (changed, known)
        return known
