"""Files of lines that a run appends one by one, and that an interrupted run goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text
from mamtra.runtime.json_files import loads


class LineFile:
    """A file to append to, by one process at a time.

    Args:
        path: of the file; its folder is made with it.
        lines: all lines by now, the one being appended included. The first one writes the file anew: what an interruption left
            of a line goes with it.
    """

    def __init__(self, path: Path, lines: Callable[[], Iterable[str]]) -> None:
        self.path, self._lines, self._begun = path, lines, False

    def begin(self) -> None:
        """Write the file anew.

        Raises:
            MamTraError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, "".join(self._lines()))
        self._begun = True

    def append(self, line: str) -> None:
        """Add a line, which is on the disk afterwards.

        Raises:
            MamTraError: the file cannot be written.
        """
        if not self._begun:
            self.begin()
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise MamTraError(f"{self.path} cannot be written: {reason}; what is finished stays.") from error


def json_line(content: Any) -> str:
    """JSON in one line, with its end."""
    return json.dumps(content, ensure_ascii=False) + "\n"


def read_whole_lines(path: Path) -> Iterator[Any]:
    """The values of a file of JSON lines, without those that an interruption or a crash has damaged; none of a missing file."""
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        with suppress(ValueError):
            yield loads(line)
