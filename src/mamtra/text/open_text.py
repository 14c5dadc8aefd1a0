"""The text front end of a model, of whichever kind its text.json says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mamtra.runtime.json_files import read_json
from mamtra.text.frontend import TextFrontend

if TYPE_CHECKING:
    from mamtra.text.bpe import BpeFrontend, TextRules


def open_text(path: Path, rules: TextRules) -> TextFrontend | BpeFrontend:
    """The front end of a text.json and the files beside it.

    Args:
        path: of the text.json, which need not exist for phonemes.
        rules: of a model that reads letters.

    Raises:
        MamTraError: a file is missing or damaged.
    """
    if path.is_file() and read_json(path).get("kind") == "bpe":
        from mamtra.text.bpe import BpeFrontend

        return BpeFrontend.load(path.parent, rules)
    return TextFrontend.load(path.parent)
