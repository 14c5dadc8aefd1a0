"""What verbs say beside their result: plain lines on standard error, whatever names and texts from elsewhere they quote."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mamtra.runtime.printable import printable

LONGEST = 2000
"""Characters of a line that are shown."""


def tell(line: str) -> None:
    """Write a line to standard error, without control characters and terminal escapes."""
    print(printable(" ".join(line.split()), LONGEST), file=sys.stderr, flush=True)


@contextmanager
def warnings_in_words(quiet: bool = False) -> Iterator[None]:
    """Show warnings as a line, without the place in the source that raised them; where it is quiet, not at all."""
    with warnings.catch_warnings():

        def show(message: Warning | str, *_: object) -> None:
            if not quiet:
                tell(f"Warning: {message}")

        warnings.showwarning = show
        yield
