"""Captured graphs on any device: the function is run again where a graph would be replayed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mamtra.runtime.cuda_graphs import CudaGraphs, GraphCache


class RerunGraphs(CudaGraphs):
    """A graph reads and writes the same memory at each launch, and so do the inputs and results here."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.available = True
        self.captured = self.replayed = self.warmed_up = 0

    def warm_up(self, run: Callable[[], object], runs: int = 2) -> None:
        self.warmed_up += runs
        for _ in range(runs):
            run()

    def capture(self, run: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        self.captured += 1
        made = self.trace(run)
        with torch.inference_mode(False):
            outputs = tuple(torch.full_like(tensor, 99) for tensor in made)

        def replay() -> None:
            self.replayed += 1
            for kept, fresh in zip(outputs, run(), strict=True):
                kept.copy_(fresh)

        return replay, outputs

    def trace(self, run: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Capturing gives the shapes of the results."""
        return run()


class RefusingGraphs(RerunGraphs):
    """Fails where it should capture."""

    def trace(self, run: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


class Rerun(GraphCache):
    """A cache of such graphs that counts."""

    def __init__(self, capacity: int = 128, backend: type[RerunGraphs] = RerunGraphs) -> None:
        self.graphs = backend()
        super().__init__("cpu", capacity, self.graphs)
        self.eager = 0

    def __call__(self, name, function, inputs):
        before = self.replayed
        results = super().__call__(name, function, inputs)
        self.eager += self.replayed == before
        assert not self.failure or isinstance(self.graphs, RefusingGraphs), self.failure
        return results

    @property
    def captured(self) -> int:
        return self.graphs.captured

    @property
    def replayed(self) -> int:
        return self.graphs.replayed


class FakeCuda:
    """Stands in for what `CudaGraphs` asks of CUDA, and writes down in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple] = []
        self.priorities: list[int] = []
        handles = iter(range(1, 99))
        fake = self

        class Graph:
            def capture_begin(self, pool, capture_error_mode):
                assert not torch.is_inference_mode_enabled()
                fake.calls.append(("begin", pool, capture_error_mode))

            def capture_end(self):
                fake.calls.append(("end",))
                if fake.calls[-2:-1] == [("failed",)]:
                    raise RuntimeError("capture was invalidated")

            def replay(self):
                fake.calls.append(("replay",))

        class Stream:
            def __init__(self, device=None, priority=0):
                self.priority = priority
                fake.priorities.append(priority)

            def wait_stream(self, other):
                pass

        for name, value in {
            "CUDAGraph": Graph,
            "Stream": Stream,
            "current_stream": lambda device: Stream(device, -2),
            "current_device": lambda: 0,
            "stream": lambda stream: contextlib.nullcontext(),
            "synchronize": lambda device: fake.calls.append(("synchronize",)),
            "empty_cache": lambda: fake.calls.append(("empty_cache",)),
            "graph_pool_handle": lambda: (0, next(handles)),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        ended = lambda device, pool: self.calls.append(("allocator", pool))  # noqa: E731
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", ended)
        self.backend = CudaGraphs(torch.device("cpu"))
        self.backend.available = True
