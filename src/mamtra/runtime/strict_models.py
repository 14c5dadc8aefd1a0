"""JSON from elsewhere as models with strict types: what does not fit is one sentence, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mamtra.errors import MamTraError
from mamtra.runtime.printable import QUOTED, printable

M = TypeVar("M", bound=BaseModel)


class StrictModel(BaseModel):
    """Types are not converted, numbers are finite, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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
        raise MamTraError(f"{where}: {problem(error, renamed or {})}.") from error


def problem(error: ValidationError, renamed: Mapping[str, str]) -> str:
    """The first thing that does not fit, in words; keys that were renamed come first."""
    found = error.errors(include_url=False, include_input=False)
    for one in found:
        old = str(one["loc"][-1]) if one["loc"] else ""
        if one["type"] == "extra_forbidden" and old in renamed:
            return f"the key {old!r} is called {renamed[old]!r} now; rename it, or measure again"
    place = printable(".".join(map(str, found[0]["loc"]))) or "content"
    message = printable(found[0]["msg"], 2 * QUOTED)
    return f"{place}: {message[:1].lower()}{message[1:]}"
