"""The exception of user mistakes: one sentence that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


class MamTraError(ValueError):
    """A mistake in the input or the installation that the caller can correct. Its message is shown to the user as it is."""


def first_problem(error: ValidationError) -> str:
    """The first fault of a configuration, ``key.path: what is wrong``, without a full stop."""
    problem = error.errors(include_url=False, include_input=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    where = ".".join(str(step) for step in problem["loc"])
    return f"{where}: {message[:1].lower()}{message[1:]}" if where else message


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
