"""A recorder for any device: it runs the function again where a graph would be replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mamtra.runtime.cuda_graphs import Recorder


class Rerun(Recorder):
    """A graph reads and writes the same memory at each launch, and so do the inputs and results here."""

    def __init__(self, most: int = 128) -> None:
        super().__init__(most)
        self.recorded = self.replayed = self.plain = 0

    def __call__(self, name, run, given):
        before = self.replayed
        results = super().__call__(name, run, given)
        self.plain += self.replayed == before
        assert not self.failure or isinstance(self, Refuses), self.failure
        return results

    def _can_record(self, given: Sequence[Tensor]) -> bool:
        return True

    def _record(self, run: Callable[[], tuple[Tensor, ...]], inputs: Sequence[Tensor]):
        self.recorded += 1
        made = run()
        with torch.inference_mode(False):
            outputs = [torch.full_like(tensor, 99) for tensor in made]

        def replay() -> None:
            self.replayed += 1
            for kept, fresh in zip(outputs, run(), strict=True):
                kept.copy_(fresh)

        return replay, inputs, outputs


class Refuses(Rerun):
    """Fails where it should record."""

    def _record(self, run: Callable[[], tuple[Tensor, ...]], inputs: Sequence[Tensor]):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")
