"""Settings and JSON from elsewhere as closed models: what does not fit is one sentence, never a traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mamtra.errors import MamTraError
from mamtra.runtime.printable import QUOTED, printable

M = TypeVar("M", bound=BaseModel)
Size = Annotated[int, Field(ge=1, le=2**24)]
"""Of a part of a network, or how many there are: whatever a file says, nothing absurd is asked of the machine."""


class ClosedModel(BaseModel):
    """Immutable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StrictModel(ClosedModel):
    """Types are not converted either, and numbers are finite."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


def parse_json(model: type[M], text: str | bytes, where: str, renamed: Mapping[str, str] | None = None) -> M:
    """Read a JSON object.

    Args:
        model: what it must be.
        text: of the object.
        where: file, and line where there are several, for the message.
        renamed: keys of earlier versions, and what they are called now.

    Raises:
        MamTraError: it is no JSON, or does not fit the model.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise MamTraError(f"{where}: {first_problem(error, renamed)}.") from error


def first_problem(error: ValidationError, renamed: Mapping[str, str] | None = None) -> str:
    """The first thing that does not fit, ``key.path: what is wrong`` without a full stop; renamed keys come first."""
    found = error.errors(include_url=False, include_input=False)
    for one in found:
        old = str(one["loc"][-1]) if one["loc"] else ""
        if one["type"] == "extra_forbidden" and old in (renamed or {}):
            return f"the key {old!r} is called {renamed[old]!r} now; rename it, or measure again"
    if found[0]["type"] == "json_invalid":
        line = re.search(r"at line (\d+)", found[0]["msg"])
        return "it is not valid JSON" + (f" from its line {line[1]} on" if line and line[1] != "1" else "")
    place = printable(".".join(map(str, found[0]["loc"])))
    message = printable(found[0]["msg"].removeprefix("Value error, "), 4 * QUOTED)
    return f"{place}: {message[:1].lower()}{message[1:]}" if place else message


def refuse_renamed(values: Any, renamed: Mapping[str, str]) -> Any:
    """Refuse keys of earlier versions; to be called by a pydantic validator of mode "before".

    Args:
        values: what is validated; anything but a mapping passes.
        renamed: old key to new key.

    Returns:
        `values`.

    Raises:
        ValueError: a key is old; pydantic reports it with its place.
    """
    for old, new in renamed.items():
        if isinstance(values, Mapping) and old in values:
            raise ValueError(f"the key {old!r} is called {new!r} now; rename it in the file, its value stays")
    return values
