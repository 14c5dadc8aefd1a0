"""The list of plain sentences that comes with the package, and lists of the user's own."""

from __future__ import annotations

from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.files import check_regular

SENTENCES = Path(__file__).with_name("sentences.txt")


def read_sentences(path: Path = SENTENCES) -> list[str]:
    """Lines of a text file; the sentences that come with the package by default.

    Raises:
        MamTraError: the file is missing, is not UTF-8 or holds no text.
    """
    check_regular(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise MamTraError(f"{path} cannot be read as a text file with one sentence a line.") from error
    found = [line for line in lines if line]
    if not found:
        raise MamTraError(f"{path} holds no sentences.")
    return found
