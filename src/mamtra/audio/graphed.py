"""The flow's estimator as CUDA graphs: one launch for an Euler step instead of more than a thousand.

At small batches the time of a step is that of its launches, which a slow host makes long. All Euler steps of a call have the
same shapes: the first one runs as it is, which also readies every kernel, the second one is recorded, the others are replayed,
so that a graph pays within the call that records it. Those used lately are kept for the calls to come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mamtra.audio.estimator import Estimator
from mamtra.audio.past import Past

Key = tuple[nn.Module, str]


@dataclass
class _Recording:
    """A graph and the memory that it reads and writes, laid out anew for every set of shapes."""

    replay: Callable[[], None]
    inputs: list[Tensor]
    outputs: list[Tensor]
    kept: list[Key]

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.inputs, *self.outputs))


class GraphedEstimator(nn.Module):
    """Takes the place of an `Estimator` for inference, with its arguments and results, ``flow.decoder.estimator`` say.

    Without CUDA, and where gradients are wanted, it calls the estimator as it is. Recordings share one pool of memory, since
    only one runs at a time: a graphed estimator serves one thread.

    Args:
        estimator: whose weights stay where they are as long as this is used.
        most_bytes: what recordings may keep for their inputs and results; those used longest ago go first.
    """

    def __init__(self, estimator: Estimator, most_bytes: int = 2**33) -> None:
        super().__init__()
        self.estimator, self.most_bytes = estimator, most_bytes
        self._layers = frozenset(estimator.modules())
        self._recordings: OrderedDict[tuple, _Recording | None] = OrderedDict()
        self._pool: tuple | None = None

    def forward(
        self,
        x: Tensor,
        valid: Tensor | None,
        mu: Tensor,
        t: Tensor,
        spks: Tensor,
        cond: Tensor,
        chunk: int = 0,
        past: Past | None = None,
        seen: int = 0,
    ) -> Tensor:
        """See `Estimator.forward`."""
        if not self._can_record(x):
            return self.estimator(x, valid, mu, t, spks, cond, chunk, past, seen)
        before = {} if past is None else past.of_slot(self._layers)
        given = [x, mu, t, spks, cond, *([] if valid is None else [valid]), *before.values()]
        # The layers' own order is part of the key: values are told apart by their place.
        key = (chunk, seen, past is None, valid is None, tuple(before), tuple((v.shape, v.dtype) for v in given))
        recording = self._recordings.get(key)
        if recording is None:
            if key not in self._recordings:
                self._recordings[key] = None
                return self.estimator(x, valid, mu, t, spks, cond, chunk, past, seen)
            recording = self._recordings[key] = self._build(
                given, valid is None, list(before), chunk, past is None, seen
            )
            self._recordings.move_to_end(key)
            self._forget()
        self._recordings.move_to_end(key)
        _copy(recording.inputs, given)
        recording.replay()
        result, *kept = fresh = [torch.empty_like(tensor) for tensor in recording.outputs]
        _copy(fresh, recording.outputs)
        if past is not None:
            past.replace_slot(dict(zip(recording.kept, kept, strict=True)))
        return result

    def _build(
        self, given: list[Tensor], full: bool, keys: list[Key], chunk: int, alone: bool, seen: int
    ) -> _Recording:
        inputs = [tensor.clone() for tensor in given]
        x, mu, t, spks, cond, *others = inputs
        valid = None if full else others.pop(0)
        made: list[Tensor] = []
        kept: list[Key] = []

        def run() -> None:
            past = None if alone else Past()
            if past is not None:
                past.replace_slot(dict(zip(keys, others, strict=True)))
            made[:] = [self.estimator(x, valid, mu, t, spks, cond, chunk, past, seen)]
            if past is not None:
                after = past.of_slot(self._layers)
                made.extend(after.values())
                kept[:] = after

        return _Recording(self._record(run), inputs, made, kept)

    def _forget(self) -> None:
        """Let recordings go until the others fit, but for the latest."""
        sizes = {key: recording.bytes for key, recording in self._recordings.items() if recording is not None}
        for key in list(sizes)[:-1]:
            if sum(sizes.values()) <= self.most_bytes:
                return
            del self._recordings[key], sizes[key]

    def _can_record(self, x: Tensor) -> bool:
        return x.device.type == "cuda" and not torch.is_grad_enabled()

    def _record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record what `run` launches; returns what launches it again."""
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            graph.capture_begin(*([] if self._pool is None else [self._pool]), capture_error_mode="thread_local")
            try:
                run()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(side)
        self._pool = self._pool or graph.pool()
        return graph.replay


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy many tensors, those of one type with few launches."""
    for kind in dict.fromkeys(tensor.dtype for tensor in targets):
        pairs = [(target, source) for target, source in zip(targets, sources, strict=True) if target.dtype == kind]
        torch._foreach_copy_(*map(list, zip(*pairs, strict=True)))
