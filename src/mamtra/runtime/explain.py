"""What went wrong outside of the package, in a sentence: too little memory, files that cannot be used, settings out of range."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from mamtra.errors import MamTraError
from mamtra.runtime.memory import describe_gpu_lack, describe_lack
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import first_problem

_PHRASES = (
    "allocate memory", "out of memory", "not enough memory", "os error 12", "failed to map segment", "paging file is too small",
    "bad_alloc", "bad allocation",
)  # fmt: skip
"""How torch, CUDA, safetensors, the loader, Windows and C++ say that memory ran out."""
_AMOUNT = re.compile(r"([\d.]+) (?:([KMGTPE])iB|bytes)|buffer of size (\d+)")
"""How much was asked for, in the words of numpy, torch and ONNX Runtime."""


@contextmanager
def in_words() -> Iterator[None]:
    """Raise what `explain` can tell as a sentence.

    Raises:
        MamTraError: with that sentence; what was raised is its cause.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except MamTraError as error:
        sentence = behind(error)
        if sentence is None:
            raise
        raise MamTraError(sentence) from error
    except (MemoryError, RuntimeError, ImportError, OSError, ValueError) as error:
        sentence = explain(error)
        if sentence is None:
            raise
        raise MamTraError(sentence) from error


def explain(error: BaseException) -> str | None:
    """The sentence for an error whose reason is the machine or an argument; None for any other."""
    if (sentence := _shortage(error)) is not None:
        return sentence
    if isinstance(error, ValidationError):
        return f"{first_problem(error)[:1].upper()}{first_problem(error)[1:]}."
    if isinstance(error, OSError):
        place = f"{printable(str(error.filename))}: " if error.filename else ""
        return f"{place}{(error.strerror or str(error)).rstrip('.')}."
    if isinstance(error, ValueError) and "null byte" in str(error):
        return "The name of a file cannot hold a null character."
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return "The text or the name of a file holds half of a character (a lone surrogate); write it again."
    return None


def behind(error: MamTraError) -> str | None:
    """The sentence for an error that blames a file where the machine is the reason: no file could be opened, read or mapped."""
    said, cause = str(error).lower(), error.__cause__
    if "memory" not in said and (sentence := _shortage(cause)) is not None:
        return sentence
    while cause is not None:
        number, text = getattr(cause, "errno", None), str(cause)
        if (number in (errno.EMFILE, errno.ENFILE) or "os error 24" in text) and "open files" not in said:
            return "There are too many open files; close some, or raise the limit (ulimit -n)."
        if (number == errno.EACCES or "os error 13" in text) and not re.search("permission|read-only", said):
            name = getattr(cause, "filename", None)
            return f"{printable(str(name)) + ': p' if name else 'P'}ermission denied; the files belong to another user."
        cause = cause.__cause__
    return None


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """What helps where memory runs out, in place of the general advice.

    Raises:
        MamTraError: it ran out; the sentence says how much was needed and how much there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        sentence = _shortage(error, advice)
        if sentence is None:
            raise
        raise MamTraError(sentence) from error


def _shortage(error: BaseException | None, advice: str = "close other programs, or take less at a time") -> str | None:
    """Whether an error, or one that it was raised from, says that memory ran out, and how much of it."""
    while error is not None:
        text = str(error)
        phrase = any(phrase in text.lower() for phrase in _PHRASES)
        device = type(error).__name__ == "OutOfMemoryError"  # torch's, which need not be imported
        if device or phrase or isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            gpu = device or "CUDA" in text
            lack = describe_gpu_lack(text) if gpu else describe_lack(_asked(text))
            where = "GPU" if gpu else "machine"
            return f"There is not enough memory on this {where}{f': {lack}' if lack else ''}; {advice}."
        error = error.__cause__
    return None


def _asked(text: str) -> int | None:
    """Bytes that the message of an allocation names."""
    if (found := _AMOUNT.search(text)) is None:
        return None
    if found[3]:
        return int(found[3])
    return round(float(found[1]) * 1024 ** (1 + "KMGTPE".index(found[2]) if found[2] else 0))
