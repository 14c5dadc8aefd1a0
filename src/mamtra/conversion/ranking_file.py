"""Layer rankings on disk: tables that an interrupted run resumes, and the order read from them.

The first line of a table says what was measured on which model; every other line is one measurement. FILE.jsonl holds JSON
lines, FILE.csv a commented JSON line, column names and comma-separated values.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mamtra.conversion.ranking_table import RankingHeader, RankingTable, Row
from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text

SUFFIXES = (".jsonl", ".csv")


class StoredTable(RankingTable):
    """A table that appends each new row to its file at once; the first one creates or rewrites the file.

    Args:
        path: the file.
        header: what the table is about.
        rows: measurements so far.
    """

    def __init__(self, path: Path, header: RankingHeader, rows: Iterable[Row] = ()) -> None:
        super().__init__(header, rows, str(path))
        self.path = path
        self._begun = False

    def add(self, row: Row) -> None:
        """See `RankingTable.add`."""
        super().add(row)
        if self._begun:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row, self.path))
            return
        # rewritten without the incomplete line that an interruption may have left
        lines = [*_first_lines(self.header, self.path), *(_line(row, self.path) for row in self.rows)]
        write_text(self.path, "".join(lines))
        self._begun = True


def open_table(path: str | os.PathLike, header: RankingHeader, *, overwrite: bool = False) -> StoredTable:
    """Create a table, or resume the existing one.

    Raises:
        MamTraError: the file holds something else, or rows measured with other settings, and `overwrite` is
            not set; or its folder is missing.
    """
    path = Path(path)
    check_place(path)
    rows: list[Row] = []
    if path.exists() and not overwrite:
        old = read_table(path)
        difference = header.difference(old.header)
        if difference:
            raise MamTraError(
                f"{path} holds another ranking ({difference}); name another file with -o, or use --overwrite."
            )
        rows = old.rows
    return StoredTable(path, header, rows)


def read_table(path: str | os.PathLike) -> RankingTable:
    """Read a table; an incomplete last line is ignored.

    Raises:
        MamTraError: it is missing or is no ranking table.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        first, _, rest = text.partition("\n")
        header = RankingHeader.model_validate_json(first.removeprefix("# "))
        whole = rest[: rest.rfind("\n") + 1]
        if path.suffix == ".csv":
            found: Iterable[dict[str, Any]] = csv.DictReader(io.StringIO(whole))
            rows = [Row.model_validate({k: v or None for k, v in row.items()}) for row in found]
        else:
            rows = [Row.model_validate_json(line) for line in whole.splitlines()]
    except (ValidationError, ValueError) as error:
        raise MamTraError(f"{path} is not a ranking table of `mamtra rank`; name another file.") from error
    seen: set[tuple[int, int | None]] = set()
    for row in rows:
        if row.layer not in (None, *header.candidates) or (row.step, row.layer) in seen:
            raise MamTraError(f"{path} is damaged: layer {row.layer} of step {row.step} is unknown or there twice.")
        seen.add((row.step, row.layer))
    return RankingTable(header, rows, str(path))


def read_ranking(path: str | os.PathLike) -> list[int]:
    """The order of a ranking file, for `LayerPlan.from_ratio`.

    Args:
        path: a complete table (.jsonl, .csv), or a JSON object with ``"ranking"``, as ``mamtra rank --json`` prints it.

    Returns:
        All layer indices, the most important first.

    Raises:
        MamTraError: the file is missing, is no ranking, is not complete, or does not name every layer once.
    """
    path = Path(path)
    if path.suffix in SUFFIXES:
        return read_table(path).ranking()
    text = _read_text(path)
    try:
        ranking = json.loads(text)["ranking"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MamTraError(f"{path} is not a layer ranking; `mamtra rank MODEL --json` prints one.") from error
    whole = isinstance(ranking, list) and all(type(i) is int for i in ranking)
    if not whole or sorted(ranking) != list(range(len(ranking))):
        raise MamTraError(f"The ranking in {path} does not name every layer once, counted from 0.")
    return ranking


def check_place(path: Path) -> None:
    """Refuse a path that no table can be written to.

    Raises:
        MamTraError: unknown suffix, or no such folder.
    """
    if path.suffix not in SUFFIXES:
        raise MamTraError(f"A ranking table is a .jsonl or a .csv file, not {path.name!r}.")
    if path.is_dir():
        raise MamTraError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise MamTraError(f"The folder {path.parent} does not exist; make it first.")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MamTraError(f"There is no ranking file {path}; `mamtra rank` makes one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MamTraError(f"{path} cannot be read as a ranking; name another file.") from error


def _first_lines(header: RankingHeader, path: Path) -> list[str]:
    line = header.model_dump_json() + "\n"
    return ["# " + line, ",".join(Row.model_fields) + "\n"] if path.suffix == ".csv" else [line]


def _line(row: Row, path: Path) -> str:
    if path.suffix == ".csv":
        return ",".join("" if value is None else str(value) for value in row.model_dump().values()) + "\n"
    return json.dumps(row.model_dump(exclude_none=True) | {"layer": row.layer}) + "\n"
