"""What the C library (glibc on Linux) keeps of memory that this process has let go of."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_M_ARENA_MAX = -8
"""Of malloc.h."""


def give_back() -> None:
    """Hand memory that was taken for a moment back to the system, where the C library can be told to; some 3 ms."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


def share_arena() -> bool:
    """Let all threads take memory from one arena of the C library, instead of several each for a few of them.

    What long-lived objects leave free between them stays taken, in each arena for itself: a server grows by it. To be called
    before there are other threads.

    Returns:
        Whether it is so: not on other systems, and not where ``MALLOC_ARENA_MAX`` is set, which the C library has read.
    """
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return False
    with contextlib.suppress(AttributeError, OSError):
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    return False
