"""Text and tables in files that users give."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.files import TEXT, check_regular


def read_text(path: Path, missing: str = "", largest: int = TEXT) -> str:
    """Contents of a UTF-8 file, with or without a byte order mark.

    Args:
        path: of the file.
        missing: what is said where there is none.
        largest: bytes that are read.

    Raises:
        MamTraError: it is no file, is too large, cannot be read, or has another encoding.
    """
    check_regular(path, largest)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MamTraError(f"{path} is not UTF-8 text; convert it, for example with iconv.") from error
    except OSError as error:
        if missing and isinstance(error, FileNotFoundError):
            raise MamTraError(missing) from error
        raise MamTraError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error


def read_table(path: Path, needed: Sequence[Sequence[str]]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Number of the line and the columns of each row of a .csv, or of a .tsv, in which quotation marks are text.

    Args:
        path: of the file; its first line names the columns.
        needed: for each column that must be there, the names that it may have.

    Raises:
        MamTraError: a column is missing, a row has more fields than the header, or the file is no table.
    """
    tabs = path.suffix.lower() == ".tsv"
    form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), **form)
    try:
        columns = rows.fieldnames or ()
        for names in needed:
            if not set(names) & set(columns):
                raise MamTraError(f"{path}, line 1: no column {' or '.join(names)}; the first line names the columns.")
        for row in rows:
            if None in row:
                advice = "take the tabs out of its text" if tabs else "put texts with commas in quotation marks"
                raise MamTraError(f"{path}, line {rows.line_num}: more fields than columns; {advice}.")
            yield rows.line_num, row
    except csv.Error as error:
        raise MamTraError(f"{path}, line {rows.line_num + 1}: {error}.") from error
