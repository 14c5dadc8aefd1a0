"""The list of plain sentences that comes with the package, and lists of the user's own."""

from __future__ import annotations

from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.text_files import read_text

SENTENCES = Path(__file__).with_name("sentences.txt")


def read_sentences(path: Path = SENTENCES) -> list[str]:
    """Lines of a text file; the sentences that come with the package by default.

    Raises:
        MamTraError: the file is missing, is not UTF-8 or holds no text.
    """
    found = [line for line in map(str.strip, read_text(path).splitlines()) if line]
    if not found:
        raise MamTraError(f"{path} holds no sentences.")
    return found
