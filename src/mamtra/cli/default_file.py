"""Names of files that nobody named: nothing that is there is replaced, nor what another process is about to write."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mamtra.tts import Audio


def default_file(stem: str, suffix: str = "wav") -> str:
    """STEM.SUFFIX, or STEM-2.SUFFIX and so on: the first that is not there yet."""
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.{suffix}" for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def save_by_default(audio: Audio, stem: str, suffix: str = "wav") -> str:
    """Write to the `default_file` of now, and return its name."""
    while True:
        name = default_file(stem, suffix)
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            break
        except FileExistsError:  # another process was faster
            continue
    try:
        audio.save(name)
    except BaseException:
        os.unlink(name)
        raise
    return name
