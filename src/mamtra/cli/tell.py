"""What verbs say beside their result: plain lines on standard error, whatever names and texts from elsewhere they quote."""

from __future__ import annotations

import sys

from mamtra.runtime.printable import printable

LONGEST = 2000
"""Characters of a line that are shown."""


def tell(line: str) -> None:
    """Write a line to standard error, without control characters and terminal escapes."""
    print(printable(" ".join(line.split()), LONGEST), file=sys.stderr, flush=True)
