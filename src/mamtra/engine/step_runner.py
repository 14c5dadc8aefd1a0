"""Runs decode steps: on a GPU as CUDA graphs of a few batch sizes, elsewhere as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mamtra.engine.decode_step import DecodeStep
from mamtra.engine.slot_table import SlotTable
from mamtra.runtime.cuda_graphs import CudaGraphs

_BUFFERS = 4
"""Pinned buffers that take turns; more than there are steps under way."""


class StepRunner:
    """Calls a `DecodeStep` for any number of slots.

    Args:
        step: what to run.
        table: of its slots.
        slots: rows at most.
        deterministic: on a GPU the largest batch size is used for all steps, so that every row is computed in the same shapes.
        graphs: capture CUDA graphs, on a GPU.
    """

    def __init__(self, step: DecodeStep, table: SlotTable, slots: int, *, deterministic: bool, graphs: bool) -> None:
        self._step, self._table, self._slots = step, table, slots
        self._device = table.ints.device
        self._deterministic = deterministic
        self._graphs: dict[int, _Graph] = {}
        self._backend = CudaGraphs(self._device)
        self._use_graphs = graphs and self._backend.available
        self._turn, on_gpu = 0, self._device.type == "cuda"
        self._tokens = torch.empty(_BUFFERS, self.widest(slots), dtype=torch.int32, pin_memory=on_gpu)
        self._done = [torch.cuda.Event() for _ in range(_BUFFERS if on_gpu else 0)]

    @staticmethod
    def widest(slots: int) -> int:
        """The largest batch size of a step."""
        return 1 << (slots - 1).bit_length()

    def bucket(self, rows: int) -> int:
        """The batch size, a power of two, that so many rows are padded to on a GPU."""
        return self.widest(self._slots if self._deterministic else rows)

    def warm_up(self) -> None:
        """Capture the graphs of all batch sizes."""
        if self._use_graphs:
            for rows in sorted({self.bucket(rows) for rows in range(1, self._slots + 1)}, reverse=True):
                self._graph(rows)

    def __call__(self, slots: Sequence[int]) -> Callable[[], list[int]]:
        """Start a step; the result waits for the tokens, one for each slot."""
        if self._device.type == "cpu":
            found = self._step(torch.tensor(slots, dtype=torch.int32)).tolist()
            return lambda: found
        padded = [*slots, *[self._table.scratch] * (self.bucket(len(slots)) - len(slots))]
        if self._use_graphs:
            tokens = self._graph(len(padded))(padded)
        else:
            tokens = self._step(torch.tensor(padded, dtype=torch.int32).to(self._device))
        self._turn = (self._turn + 1) % _BUFFERS
        pinned, done = self._tokens[self._turn, : len(padded)], self._done[self._turn]
        pinned.copy_(tokens, non_blocking=True)
        done.record()

        def wait() -> list[int]:
            done.synchronize()
            return pinned.tolist()[: len(slots)]

        return wait

    def _graph(self, rows: int) -> _Graph:
        if rows not in self._graphs:
            self._graphs[rows] = _Graph(self._backend, self._step, rows, self._table.scratch)
        return self._graphs[rows]


class _Graph:
    """A captured step of one batch size; the slots are copied in only where they change."""

    def __init__(self, backend: CudaGraphs, step: DecodeStep, rows: int, scratch: int) -> None:
        self._slots = torch.full((rows,), scratch, dtype=torch.int32, device=backend.device)
        self._last: list[int] = [scratch] * rows
        self._pinned = torch.empty(_BUFFERS, rows, dtype=torch.int32, pin_memory=True)
        self._turn = 0
        backend.warm_up(lambda: step(self._slots), runs=1)
        self._launch, self._tokens = backend.capture(lambda: step(self._slots))

    def __call__(self, slots: list[int]) -> Tensor:
        if slots != self._last:
            buffer = self._pinned[self._turn]
            self._turn = (self._turn + 1) % _BUFFERS
            buffer.copy_(torch.tensor(slots, dtype=torch.int32))
            self._slots.copy_(buffer, non_blocking=True)
            self._last = slots
        self._launch()
        return self._tokens
