"""JSON objects on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mamtra.errors import MamTraError
from mamtra.runtime.files import check_regular, write_text
from mamtra.runtime.strict_models import first_problem

M = TypeVar("M", bound=BaseModel)
LINE = 120
"""Longest line that is written, in characters."""


def loads(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, not Unicode, nested too deep, or holds numbers of too many digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


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
        value = loads(text)
    except ValueError as error:
        raise MamTraError(f"{path} is damaged and cannot be read as JSON; get the model again.") from error
    if not isinstance(value, dict):
        raise MamTraError(f"{path} should hold a JSON object; get the model again.")
    return value


def parse_model(model: type[M], path: Path, what: str) -> M:
    """A file with a JSON object as a pydantic model.

    Args:
        model: what the object must be.
        path: of the file.
        what: it describes, with its article, for the message.

    Raises:
        MamTraError: the file is missing or damaged, or does not fit.
    """
    if not path.is_file():
        raise MamTraError(f"{path} is missing: the model is incomplete, fetch it again.")
    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        raise MamTraError(
            f"{path} does not describe {what} that this version knows: {first_problem(error)}."
        ) from error


def write_json(path: Path, value: Any, *, sort_keys: bool = True) -> None:
    """Write JSON; a value that fits into a line, and a list without objects and lists, is written in one.

    Args:
        path: of the file.
        value: what JSON can hold.
        sort_keys: so that equal content gives equal files; else keys keep their order.
    """
    write_text(path, _layout(value, 0, 0, sort_keys) + "\n")


def _layout(value: Any, depth: int, before: int, sort_keys: bool) -> str:
    """A value as JSON at an indentation depth, after `before` characters of its line."""
    line = json.dumps(value, sort_keys=sort_keys, ensure_ascii=False)
    if not _is_nested(value) or before + len(line) <= LINE:
        return line
    inner = "  " * (depth + 1)
    if isinstance(value, dict):
        names = {
            json.dumps(str(name), ensure_ascii=False): value[name] for name in (sorted(value) if sort_keys else value)
        }
        entries = [
            f"{name}: {_layout(entry, depth + 1, len(inner + name) + 3, sort_keys)}" for name, entry in names.items()
        ]
        start, end = "{}"
    else:
        entries = [_layout(entry, depth + 1, len(inner) + 1, sort_keys) for entry in value]
        start, end = "[]"
    return f"{start}\n" + ",\n".join(inner + entry for entry in entries) + "\n" + "  " * depth + end


def _is_nested(value: Any) -> bool:
    """Whether it is an object, or a list with objects or lists."""
    return isinstance(value, dict) or (
        isinstance(value, list | tuple) and any(isinstance(entry, dict | list | tuple) for entry in value)
    )
