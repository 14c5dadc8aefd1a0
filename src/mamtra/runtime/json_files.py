"""JSON objects on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text

LINE = 120
"""Characters of a line that is written."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MamTraError: the file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MamTraError(f"{path.parent} is not a model directory: it has no {path.name}.") from error
    except (OSError, ValueError) as error:
        raise MamTraError(f"{path} is damaged and cannot be read as JSON; get the model again.") from error
    if not isinstance(value, dict):
        raise MamTraError(f"{path} should hold a JSON object; get the model again.")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal content gives equal files; what fits into a line stands in one."""
    write_text(path, _layout(value, 0) + "\n")


def _layout(value: Any, depth: int, before: int = 0) -> str:
    """Some JSON at a depth, behind so many characters in its line."""
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
