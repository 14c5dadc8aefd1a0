"""Lack of memory in words: Python, torch, CUDA, the system and safetensors each report it in their own way."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mamtra.errors import MamTraError

_PHRASES = (
    "allocate memory", "out of memory", "not enough memory", "os error 12", "failed to map segment", "paging file is too small",
)  # fmt: skip
_AMOUNT = re.compile(r"([\d.]+ [KMGT]iB|\d+ bytes)")


@contextmanager
def memory_in_words() -> Iterator[None]:
    """Turn a lack of memory into a sentence.

    Raises:
        MamTraError: there was too little; what was raised is its cause.
    """
    try:
        yield
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        sentence = shortage(error)
        if sentence is None:
            raise
        raise MamTraError(sentence) from error


def shortage(error: BaseException | None) -> str | None:
    """The sentence for an error that says, or was raised from one that says, that memory ran out; None for any other."""
    while error is not None:
        text = str(error)
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM or any(
            phrase in text.lower() for phrase in _PHRASES
        ):  # fmt: skip
            found = _AMOUNT.search(text)
            asked = f": {_readable(found[1])} more could not be had" if found else ""
            where = "GPU" if "CUDA" in text else "machine"
            return f"There is not enough memory on this {where}{asked}; close other programs, or take less at a time."
        error = error.__cause__
    return None


def _readable(amount: str) -> str:
    number, unit = amount.split()
    return amount if unit != "bytes" else f"{max(1, int(number) // 2**20):,} MiB"
