"""Layer numbers on the command line."""

from __future__ import annotations

from mamtra.errors import MamTraError


def read_indices(text: str | None) -> list[int] | None:
    """Layer numbers between commas; None where the option is absent.

    Raises:
        MamTraError: it reads otherwise.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise MamTraError(f"--attention takes layer numbers between commas, such as 0,4,8, not {text!r}.")
    return [int(word) for word in words]
