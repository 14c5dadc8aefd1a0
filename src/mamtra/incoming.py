"""Text that arrives bit by bit, cut into pieces that can be spoken already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_END = re.compile(r"[.!?…][\"')\]”’]*\s+|[。！？]|\n\s*\n")
_ABBREVIATION = re.compile(r"(?:^|[\s(\"'“‘])(?:[A-Z][a-z]{0,3}|[A-Za-z](?:\.[A-Za-z])*|etc|vs|e\.g|i\.e)\.$")


def complete_sentences(parts: Iterable[str]) -> Iterator[str]:
    """Regroup arriving text: each item ends at the end of a sentence, except perhaps the last one.

    A full stop counts once white space follows it, so that "3.5" is never cut, and not after what looks like an
    abbreviation ("Dr.", "e.g."). The items joined are the text that came in.

    Args:
        parts: bits of text of any size, such as the output of a language model.
    """
    waiting = ""
    for part in parts:
        waiting += part
        cut = _last_end(waiting)
        if cut and waiting[:cut].strip():
            yield waiting[:cut]
            waiting = waiting[cut:]
    if waiting.strip():
        yield waiting


def _last_end(text: str) -> int:
    """Where the last complete sentence of `text` ends; 0 if none does."""
    ends = [m.end() for m in _END.finditer(text) if not _ABBREVIATION.search(text[: m.start() + 1])]
    return ends[-1] if ends else 0
