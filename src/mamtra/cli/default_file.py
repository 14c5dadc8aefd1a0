"""Names of files that nobody named: nothing that is there is replaced."""

from __future__ import annotations

import os
from itertools import count


def default_file(stem: str, suffix: str = "wav") -> str:
    """STEM.SUFFIX, or STEM-2.SUFFIX and so on: the first that is not there yet."""
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.{suffix}" for number in count(1))
    return next(name for name in names if not os.path.lexists(name))
