"""Standard output and standard error as they are found: closed, of no width, or with an encoding that lacks characters."""

from __future__ import annotations

import codecs
import io
import os
import sys

_ESCAPED = "mamtra.escaped"


def complete_streams() -> None:
    """Send what is written to a closed stream (``2>&-``) nowhere, and write what an encoding lacks as JSON does, ``\\u0259``.

    The numbers of closed streams are taken: a file that is opened later would get what libraries write to them.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest free one
            if name != "stdin":
                setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
    if os.environ.get("COLUMNS") == "0":  # unknown; tables of no width would be lost
        del os.environ["COLUMNS"]
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        return codecs.replace_errors(error)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end
