"""Score files: JSON lines, a stamp first that says what was measured how, then one row an utterance. An interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text

COMPARABLE = ("set_sha256", "asr", "asr_sha256", "rules", "metrics")
"""Keys of the stamp in which two files must agree for their figures to be compared."""


class ScoreFile:
    """Scores of one system on one set.

    Args:
        path: the file; begun with the first row.
        stamp: of the run.
        rows: measured so far, by `row_key`.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any], rows: Mapping[str, dict[str, Any]] | None = None) -> None:
        self.path, self.stamp, self.rows = path, dict(stamp), dict(rows or {})
        self._begun = False

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, on disk at once."""
        self.rows[row_key(row)] = row
        if self._begun:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row))
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, _line({"stamp": self.stamp}) + "".join(map(_line, self.rows.values())))
        self._begun = True


def row_key(row: Mapping[str, Any]) -> str:
    """Name of a row: its id, and its seed where utterances are spoken with several."""
    return f"{row['id']}#{row['seed']}" if "seed" in row else row["id"]


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"


def read_scores(path: Path) -> ScoreFile:
    """Read a score file, or VERSA's score lines; a last line that an interruption cut short is left out.

    Raises:
        MamTraError: there is none, or it is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MamTraError(f"There is no score file {path}; `mamtra evaluate` makes one.") from error
    found = list(_parsed(path, lines))
    if found and "key" in found[0]:
        from mamtra.evaluate.versa import from_versa

        return from_versa(path, found)
    if not found or "stamp" not in found[0]:
        raise MamTraError(f"{path} is not a score file: its first line has no stamp.")
    return ScoreFile(path, found[0]["stamp"], {row_key(row): row for row in found[1:]})


def _parsed(path: Path, lines: list[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise MamTraError(
                    f"{path}, line {number} is not JSON; delete the line, its utterance is measured again."
                ) from error


def open_scores(path: Path, stamp: Mapping[str, Any], *, overwrite: bool = False) -> ScoreFile:
    """Begin a score file, or go on with the one that is there.

    Raises:
        MamTraError: the file there was measured otherwise and is not to be overwritten.
    """
    if overwrite or not path.exists():
        return ScoreFile(path, stamp)
    found = read_scores(path)
    changed = sorted(key for key in {*stamp, *found.stamp} if stamp.get(key) != found.stamp.get(key))
    if changed:
        raise MamTraError(
            f"{path} was measured with another {', '.join(changed)}; give another -o, or --overwrite to measure anew."
        )
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What keeps two stamps' figures from being compared, a phrase each."""
    return [f"{key}: {one.get(key)} against {other.get(key)}" for key in COMPARABLE if one.get(key) != other.get(key)]
