"""Layer rankings on disk: tables that an interrupted run resumes, and the order read from them.

The first line of a table says what was measured on which model; every other line is one measurement with its checksum.
FILE.jsonl holds JSON lines, FILE.csv a commented JSON line, column names and comma-separated values.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from pydantic import ConfigDict

from mamtra.conversion.ranking_table import MOST_LAYERS, RankingHeader, RankingTable, Row
from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import check_destination
from mamtra.runtime.json_files import loads
from mamtra.runtime.line_files import LineFile, json_line
from mamtra.runtime.strict_models import parse_json
from mamtra.runtime.text_files import read_text

SUFFIXES = (".jsonl", ".csv")


class StoredTable(RankingTable):
    """A table that appends each new row to its file at once."""

    def __init__(self, path: Path, header: RankingHeader, rows: Iterable[Row] = ()) -> None:
        super().__init__(header, rows, str(path))
        self.path = path
        self._file = LineFile(path, self._lines)

    def add(self, row: Row) -> None:
        """See `RankingTable.add`."""
        super().add(row)
        self._file.append(_line(row, self.path))

    def _lines(self) -> list[str]:
        return [*_first_lines(self.header, self.path), *(_line(row, self.path) for row in self.rows)]


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
    first, _, rest = _read_text(path).partition("\n")
    where = f"{path} is not a ranking table of `mamtra rank`"
    header = parse_json(RankingHeader, first.removeprefix("# "), f"{where}: line 1")
    lines = rest.split("\n")[:-1]
    head = 1
    if path.suffix == ".csv":
        if not lines or lines[0] != ",".join(COLUMNS):
            raise MamTraError(f"{where}: line 2 must name its columns, {','.join(COLUMNS)}.")
        lines, head = [_from_csv(line) for line in lines[1:]], 2
    rows: dict[tuple[int, int | None], Row] = {}
    for number, line in enumerate(lines, head + 1):
        row = parse_json(_Line, line, f"{where}: line {number}")
        if row.check is not None and row.check != _check(row):
            raise MamTraError(f"{path} is damaged: line {number} was changed; delete it, its layer is measured again.")
        if (row.step, row.layer) in rows or not header.has_place_for(row):
            raise MamTraError(
                f"{where}: line {number} is of a layer that has a line already, or is not to be measured."
            )
        rows[row.step, row.layer] = Row(**row.model_dump(exclude={"check"}))
    return RankingTable(header, rows.values(), str(path))


@checked
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
        ranking = loads(text)["ranking"]
    except (ValueError, KeyError, TypeError) as error:
        raise MamTraError(f"{path} is not a layer ranking; `mamtra rank MODEL --json` prints one.") from error
    whole = isinstance(ranking, list) and len(ranking) <= MOST_LAYERS and all(type(i) is int for i in ranking)
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
    check_destination(path)


def _read_text(path: Path) -> str:
    return read_text(path, f"There is no ranking file {path}; `mamtra rank` makes one.")


def _first_lines(header: RankingHeader, path: Path) -> list[str]:
    line = header.model_dump_json() + "\n"
    return ["# " + line, ",".join(COLUMNS) + "\n"] if path.suffix == ".csv" else [line]


def _line(row: Row, path: Path) -> str:
    content = row.model_dump() | {"check": _check(row)}
    if path.suffix == ".csv":
        return ",".join("" if content[name] is None else str(content[name]) for name in COLUMNS) + "\n"
    return json_line({name: value for name, value in content.items() if value is not None or name == "layer"})


def _from_csv(line: str) -> str:
    """A line of comma-separated values as JSON; what is no number stays text, which the model refuses."""
    values = dict(zip_longest(COLUMNS, line.split(",")))
    filled = {str(name): _number(value) for name, value in values.items() if value}
    return json.dumps({"layer": None} | filled)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check(row: Row) -> int:
    """CRC-32 of a row, by which a damaged line is known."""
    values = [getattr(row, name) for name in Row.model_fields]
    return zlib.crc32(json.dumps(values).encode())


class _Line(Row):
    """A row with its checksum."""

    model_config = ConfigDict(allow_inf_nan=False)

    check: int | None = None


COLUMNS = tuple(_Line.model_fields)
