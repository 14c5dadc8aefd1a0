"""Snapshots of the prompts that streams began with last, so that a voice's prompt is fed once and restored from then on."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from mamtra.engine.request import Inputs
from mamtra.engine.slots import Snapshot

LEAST = 32
"""Inputs from which on restoring costs less than feeding."""
LIMIT = 2**28
"""Bytes that are kept; the latest snapshot is kept even if it is larger."""


class Prefixes:
    """Threads may share it.

    Args:
        limit: bytes to keep.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._kept: OrderedDict[tuple[tuple[int, int], ...], Snapshot] = OrderedDict()

    def find(self, inputs: Inputs, make: Callable[[Inputs], Snapshot | None]) -> Snapshot | None:
        """The state behind these inputs; None where they are few, or where `make` has no room for them now."""
        if len(inputs) < LEAST:
            return None
        key = tuple(inputs)
        with self._lock:
            found = self._kept.get(key) or make(inputs)
            if found is None:
                return None
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(other.bytes for other in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
            return found
