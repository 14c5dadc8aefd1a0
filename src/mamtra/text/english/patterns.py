"""Regular expressions that are compiled when they are needed: the rules of reading have hundreds, of which a sentence needs few."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

_FIGURE = re.compile(r"\d")


class Pattern:
    """A regular expression, with what `re.compile` gives.

    Args:
        pattern, flags: see `re.compile`.
    """

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._about = pattern, flags

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(*self._about)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._compiled, name)
        setattr(self, name, found)  # so that it is asked for once
        return found


class FigurePattern(Pattern):
    """One that matches nothing without a figure: it need not be compiled for texts that have none."""

    def sub(self, said: str | Callable[[re.Match[str]], str], text: str) -> str:
        """As of a compiled one."""
        return self._compiled.sub(said, text) if _FIGURE.search(text) else text
