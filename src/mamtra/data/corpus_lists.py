"""Corpora listed in a file: JSON lines, and tables with a header."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mamtra.data.recordings import Item, Recordings, name_of, ordered, transcript_item
from mamtra.errors import MamTraError
from mamtra.runtime.json_files import loads
from mamtra.runtime.text_files import read_table, read_text

AUDIO = ("audio", "audio_filepath", "path", "file_name")
TEXT = ("text_normalized", "normalized_text", "text", "sentence", "transcription")
"""Names of columns and keys, the preferred first."""
_SPEAKER = ("speaker", "speaker_id", "client_id")
_FORM = '{"audio": path, "text": words}'


class _List(Recordings):
    """A file with a recording a row; paths are relative to the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def items(self) -> list[Item]:
        """See `Recordings.items`."""
        return ordered((self._item(number, row) for number, row in self._rows()), self._path)

    @abstractmethod
    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number of the line and its columns."""

    def _item(self, number: int, row: dict[str, Any]) -> Item:
        audio, text = (next((key for key in keys if key in row), None) for keys in (AUDIO, TEXT))
        place = row[audio].strip() if audio is not None and isinstance(row[audio], str) else ""
        if text is None or not Path(place).name:
            raise MamTraError(f"Line {number} of {self._path} is not {_FORM}.")
        name = name_of(row.get("id")) or Path(place).with_suffix("").as_posix()
        speaker = next((found for key in _SPEAKER if (found := name_of(row.get(key)))), "unknown")
        item = Item(
            name, os.path.normpath(os.path.join(self._path.parent, place)), "", speaker,
            name_of(row.get("source")) or self._path.stem,
        )  # fmt: skip
        if any("\ud800" <= c <= "\udfff" for c in "".join(item)):
            raise MamTraError(
                f"Line {number} of {self._path} holds half a character (a lone surrogate); save it again."
            )
        return transcript_item(item, row[text])


class JsonLines(_List):
    """``{"audio": path, "text": words}`` a line, with "id", "speaker" and "source" where known."""

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        # only line feeds end a line: a JSON string may hold other separators of Unicode
        for number, line in enumerate(read_text(self._path).split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = loads(line)
            except ValueError as error:
                raise MamTraError(f"Line {number} of {self._path} is not {_FORM}.") from error
            if not isinstance(row, dict):
                raise MamTraError(f"Line {number} of {self._path} is not {_FORM}.")
            yield number, row


class Table(_List):
    """A .csv or .tsv with a header; columns as in `AUDIO` and `TEXT`, with "id", "speaker" and "source" where known."""

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from read_table(self._path, (AUDIO, TEXT))
