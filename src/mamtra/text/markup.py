"""Pauses written in the text: ``[pause:1s]``, ``[pause:500ms]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mamtra.errors import MamTraError

LONGEST_PAUSE = 10.0
_MARK = re.compile(r"\[\s*pause\b([^\]]*)\]", re.IGNORECASE)
_TIME = re.compile(r"\s*:\s*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Pause:
    """Silence asked for by the text, in seconds."""

    seconds: float


def parse_markup(text: str) -> list[str | Pause]:
    """Text and pauses in their order.

    Raises:
        MamTraError: a pause mark is malformed or longer than `LONGEST_PAUSE` seconds.
    """
    parts: list[str | Pause] = []
    start = 0
    for mark in _MARK.finditer(text):
        parts += [text[start : mark.start()], Pause(_seconds(mark))]
        start = mark.end()
    return [part for part in [*parts, text[start:]] if isinstance(part, Pause) or part.strip()]


def _seconds(mark: re.Match[str]) -> float:
    time = _TIME.fullmatch(mark[1])
    if time is None:
        raise MamTraError(f"{mark[0]} is not a pause: write it as [pause:1s] or [pause:500ms].")
    seconds = float(time[1]) / (1000 if time[2].lower() == "ms" else 1)
    if seconds > LONGEST_PAUSE:
        raise MamTraError(f"{mark[0]} is too long: a pause lasts from 0 to {LONGEST_PAUSE:g} seconds.")
    return seconds
