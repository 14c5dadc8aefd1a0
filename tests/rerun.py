"""Captured graphs on any device: the function is run again where a graph would be replayed."""

from __future__ import annotations

from collections.abc import Callable

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
