"""What a folder of a batch holds already: one line for every sound file, appended once the file is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from pydantic import ValidationError

from mamtra.bulk.lines import Line
from mamtra.runtime.files import check_destination
from mamtra.runtime.line_files import LineFile, json_line, read_whole_lines
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
    """The record of a folder, for one process at a time.

    Args:
        folder: of the sound files.

    Raises:
        MamTraError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        check_destination(folder / NAME)
        self.folder = folder
        self._made: dict[str, Made] = {}
        for row in read_whole_lines(folder / NAME):
            with suppress(ValidationError):  # what is not known to be finished is made again
                made = Made.model_validate(row)
                self._made[made.id] = made
        self._file = LineFile(folder / NAME, lambda: map(_line, self._made.values()))

    def has(self, line: Line, digest: str) -> bool:
        """Whether the line's sound file is there and was made from the same input."""
        made = self._made.get(line.id)
        return made is not None and made.digest == digest and (self.folder / made.file).is_file()

    def add(self, made: Made) -> None:
        """Enter a sound file that is complete, and remove one that its line had in another format."""
        before = self._made.get(made.id)
        self._made[made.id] = made
        self._file.append(_line(made))
        if before is not None and before.file != made.file and Path(before.file).name == before.file:
            (self.folder / before.file).unlink(missing_ok=True)


def _line(made: Made) -> str:
    return json_line(made.model_dump())


def join_hashes(hashes: Mapping[str, str]) -> str:
    """One hash of several, by name."""
    return hashlib.sha256(json.dumps(dict(sorted(hashes.items()))).encode()).hexdigest()[:16]
