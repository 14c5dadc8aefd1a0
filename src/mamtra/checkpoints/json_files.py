"""JSON objects on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mamtra.errors import MamTraError


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
    """Write JSON with sorted keys, so that equal content gives equal files."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
