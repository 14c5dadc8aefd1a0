"""A second stream of a GPU for work that the first one does not wait for; elsewhere that work is done on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SideStream:
    """Launches beside the current stream.

    Args:
        device: a CUDA device; on any other nothing is beside anything.
        priority: of what is launched, lower before higher.
    """

    def __init__(self, device: torch.device, priority: int = 0) -> None:
        self._stream = torch.cuda.Stream(device, priority) if device.type == "cuda" else None
        self._end: torch.cuda.Event | None = None

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Launch within what comes after all that the current stream was given so far, and beside what it is given later."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            yield
            self._end = self._stream.record_event()

    @property
    def settled(self) -> bool:
        """Whether all that was launched beside is done."""
        return self._end is None or self._end.query()

    def join(self) -> None:
        """What the current stream is given later comes after what was launched beside."""
        if self._end is not None:
            torch.cuda.current_stream(self._stream.device).wait_event(self._end)
