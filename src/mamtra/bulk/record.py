"""What a folder of a batch holds already: one line for every sound file, appended once the file is complete."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from mamtra.bulk.lines import Line
from mamtra.errors import MamTraError
from mamtra.runtime.strict_models import StrictModel

NAME = "batch.jsonl"


class Made(StrictModel):
    """A finished sound file.

    Attributes:
        id: of its line.
        file: its name.
        digest: of everything that decides its content, see `digest_of`.
        seconds: of sound.
        finish_reason: as in `mamtra.synthesis.audio.Audio`.
    """

    id: str
    file: str
    digest: str
    seconds: float
    finish_reason: str


def digest_of(line: Line, voice: str, model: str) -> str:
    """Of a line without its number, of its voice's and of the model's hash."""
    parts = json.dumps([*astuple(line)[1:], voice, model])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


class Record:
    """The record of a folder; use it in a `with` statement, by one process at a time.

    Args:
        folder: of the sound files.

    Raises:
        MamTraError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Made] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Record:
        path = self.folder / NAME
        try:
            content = path.read_bytes() if path.exists() else b""
            self._file = path.open("ab")
            if content and not content.endswith(b"\n"):
                self._write(b"\n")  # a killed process left half a line
        except OSError as error:
            raise MamTraError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}.") from error
        for row in content.split(b"\n"):
            try:
                made = Made.model_validate_json(row)
            except ValidationError:
                continue  # what is not known to be finished is made again
            self._made[made.id] = made
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, line: Line, digest: str) -> bool:
        """Whether the line's sound file is there and was made from the same input."""
        made = self._made.get(line.id)
        return made is not None and made.digest == digest and (self.folder / made.file).is_file()

    def add(self, made: Made) -> None:
        """Enter a sound file that is complete, and remove one that its line had in another format."""
        before = self._made.get(made.id)
        self._made[made.id] = made
        try:
            self._write(json.dumps(made.model_dump(), ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise MamTraError(f"{self.folder / NAME} cannot be written: {reason}; what is finished stays.") from error
        if before is not None and before.file != made.file and Path(before.file).name == before.file:
            (self.folder / before.file).unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())


def join_hashes(hashes: Mapping[str, str]) -> str:
    """One hash of several, by name."""
    return hashlib.sha256(json.dumps(dict(sorted(hashes.items()))).encode()).hexdigest()[:16]
