"""What is known about a voice: the header of its file, read without its tensors."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mamtra.errors import MamTraError
from mamtra.runtime.json_files import loads
from mamtra.runtime.printable import printable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever their suffix."""
_LONGEST_HEADER = 2**20


class VoiceInfo(BaseModel):
    """Facts about a voice: the header of its file.

    Attributes:
        pitch: middle of the voice's pitch in Hz, from which `pitch_range` moves it away; 0 where it is not known.
        pitch_range: factor of the pitch's distance from its middle, in octaves. A flow narrows it: 1.3 gives the default voice
            the range of its recordings.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    language: str = "en"
    gender: str = ""
    description: str = ""
    licence: str = ""
    source: str = ""
    consent: str = ""
    voice_space: str = ""
    pitch: float = Field(0.0, ge=0, le=1000)
    pitch_range: float = Field(1.0, ge=0, le=4)

    @model_validator(mode="after")
    def _range_has_a_middle(self) -> VoiceInfo:
        if self.pitch_range != 1 and not self.pitch:
            raise ValueError("a pitch_range needs the pitch that is its middle")
        return self


def read_info(path: Path) -> VoiceInfo:
    """The header of a voice file alone, for lists.

    Raises:
        MamTraError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _LONGEST_HEADER:
                raise ValueError("no safetensors header")
            metadata = loads(file.read(length)).get("__metadata__", {})
    except (OSError, ValueError, AttributeError) as error:
        raise MamTraError(f"{path} is damaged or is not a voice file; make the voice again.") from error
    return parse_info(path, metadata)


def parse_info(path: Path, metadata: dict[str, str]) -> VoiceInfo:
    """Facts from the metadata of a voice file; the file's name is that of the voice.

    Raises:
        MamTraError: they are of another form.
    """
    try:
        return VoiceInfo.model_validate({**metadata, "name": path.stem})
    except (ValidationError, TypeError) as error:
        raise MamTraError(f"The header of {path} is damaged; make the voice again.") from error


def check_name(name: str) -> str:
    """The name, if it is safe as a file name on every system.

    Raises:
        MamTraError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise MamTraError(
            f"{printable(name)!r} cannot name a voice; use letters, digits, dot, dash and underscore, 64 at most."
        )
    if _DEVICES.fullmatch(name):
        raise MamTraError(f"{name!r} cannot name a voice, because Windows keeps it for a device; choose another name.")
    return name
