"""The lines of a batch file: which text, in which voice, to which sound file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from mamtra.audio.io import format_of
from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import StrictModel, parse_json
from mamtra.runtime.text_files import read_text

LONGEST_ID = 200
"""Bytes; the suffix follows in the name of a file."""


@dataclass(frozen=True)
class Defaults:
    """What lines that do not say otherwise have.

    Attributes:
        voice: name or file; the model's own where None.
        seed: of the draws.
        speed: 0.5 (slow) to 2 (fast).
        format: of the sound files.
    """

    voice: str | None = None
    seed: int = 0
    speed: float = 1.0
    format: str = "wav"


class Entry(StrictModel):
    """A line of a .jsonl file; keys that are left out have the `Defaults`."""

    id: str | int | None = None
    text: str
    voice: str | None = None
    seed: int | None = Field(None, ge=0, lt=2**63)
    speed: float | None = None
    format: str | None = None


@dataclass(frozen=True)
class Line:
    """A text to speak.

    Attributes:
        number: of the line in its file, from 1.
        id: unique in the file without regard to case; with the format as suffix it is the name of the sound file.
        text: to speak.
        voice: name or path; the model's own where None.
        seed: of the draws.
        speed: 0.5 (slow) to 2 (fast).
        format: of the sound file.
    """

    number: int
    id: str
    text: str
    voice: str | None
    seed: int
    speed: float
    format: str

    @property
    def file(self) -> str:
        """Name of the sound file."""
        return f"{self.id}.{self.format}"


@dataclass(frozen=True)
class Failure:
    """A line that gave no sound file.

    Attributes:
        number: of the line, from 1.
        reason: one sentence with file and line number.
    """

    number: int
    reason: str


def read_lines(path: Path, defaults: Defaults) -> Iterator[Line | Failure]:
    """Lines of FILE.txt, a text each, or of FILE.jsonl, see `Entry`; empty ones are skipped. Without an id it is lineNUMBER.

    Raises:
        MamTraError: there is no such file, it is of another kind, or it is not UTF-8.
    """
    if path.suffix.lower() not in (".txt", ".jsonl"):
        raise MamTraError(f"A batch is a .txt file with a text a line or a .jsonl file, not {path.name!r}.")
    rows = read_text(path).split("\n")
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        where = f"{path}, line {number}"
        try:
            entry = Entry(text=row.strip()) if path.suffix.lower() == ".txt" else parse_json(Entry, row, where)
            line = _line(entry, number, where, defaults, path.parent)
            if line.id.casefold() in seen:
                raise MamTraError(f"{where}: line {seen[line.id.casefold()]} has the id {printable(line.id)!r} too.")
            seen[line.id.casefold()] = number
            yield line
        except MamTraError as error:
            yield Failure(number, str(error))


def _line(entry: Entry, number: int, where: str, defaults: Defaults, folder: Path) -> Line:
    name = f"line{number:04d}" if entry.id is None else str(entry.id)
    reserved = any(c in '/\\:*?"<>|' or not c.isprintable() for c in name)
    if not name.strip() or reserved or name[0] == "." or name[-1] in ". " or len(name.encode()) > LONGEST_ID:
        raise MamTraError(f"{where}: {printable(name)!r} cannot be an id, which names a file.")
    if not entry.text.strip():
        raise MamTraError(f"{where}: there is no text.")
    try:
        chosen = format_of("-", entry.format or defaults.format)
    except MamTraError as error:
        raise MamTraError(f"{where}: {error}") from error
    voice = entry.voice or defaults.voice
    if entry.voice and (folder / entry.voice).is_file():
        voice = str(folder / entry.voice)
    return Line(
        number, name, entry.text, voice,
        defaults.seed if entry.seed is None else entry.seed,
        defaults.speed if entry.speed is None else entry.speed,
        chosen,
    )  # fmt: skip
