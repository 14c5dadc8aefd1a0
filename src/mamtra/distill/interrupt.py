"""Ctrl-C during a training run: it ends after a whole step, so that a checkpoint can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import TracebackType


class InterruptLatch:
    """Remembers a first Ctrl-C; a second one interrupts at once.

    Args:
        active: leave the signal alone otherwise, as with several processes, which are interrupted at different steps.
        tell: called at the first Ctrl-C.

    Attributes:
        requested: whether Ctrl-C was pressed.
    """

    def __init__(self, *, active: bool = True, tell: Callable[[], None] | None = None) -> None:
        self.requested, self._tell = False, tell
        self._active = active and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> InterruptLatch:
        if self._active:
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._previous)

    def _interrupt(self, *_: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._tell is not None:
            self._tell()
