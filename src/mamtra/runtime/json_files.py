"""JSON objects on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.files import check_regular, write_text

LINE = 120
"""Longest line that is written, in characters."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MamTraError: the file is missing, is not a regular file, cannot be read, is too large, or is not a JSON object.
    """
    if not path.exists():
        raise MamTraError(f"{path.parent} is not a model directory: it has no {path.name}.")
    check_regular(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise MamTraError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, not Unicode, numbers of too many digits, nested too deep
        raise MamTraError(f"{path} is damaged and cannot be read as JSON; get the model again.") from error
    if not isinstance(value, dict):
        raise MamTraError(f"{path} should hold a JSON object; get the model again.")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal content gives equal files; a value that fits into a line is written in one."""
    write_text(path, _layout(value, 0) + "\n")


def _layout(value: Any, depth: int, before: int = 0) -> str:
    """A value as JSON at an indentation depth, after `before` characters of its line."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not isinstance(value, dict | list | tuple) or before + len(line) <= LINE:
        return line
    inner = "  " * (depth + 1)
    if isinstance(value, dict):
        names = {json.dumps(str(name), ensure_ascii=False): entry for name, entry in sorted(value.items())}
        entries = [f"{name}: {_layout(entry, depth + 1, len(inner + name) + 3)}" for name, entry in names.items()]
        start, end = "{}"
    else:
        entries = [_layout(entry, depth + 1, len(inner) + 1) for entry in value]
        start, end = "[]"
    return f"{start}\n" + ",\n".join(inner + entry for entry in entries) + "\n" + "  " * depth + end
