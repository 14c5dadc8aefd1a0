"""Objects that somebody still holds, for figures about them."""

from __future__ import annotations

import threading
import weakref
from typing import Generic, TypeVar

T = TypeVar("T")


class Living(Generic[T]):
    """Notes objects without keeping them alive. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._references: list[tuple[weakref.ref[T], int]] = []

    def add(self, item: T, number: int = 0) -> None:
        """Note an object, and a number with it."""
        with self._lock:
            self._references = [each for each in self._references if each[0]() is not None]
            self._references.append((weakref.ref(item), number))

    def all(self) -> list[tuple[T, int]]:
        """Those that are still held, each with its number."""
        with self._lock:
            pairs = [(reference(), number) for reference, number in self._references]
        return [(item, number) for item, number in pairs if item is not None]
