"""Calls of fixed shapes as CUDA graphs: one launch for what a slow host would take more than a thousand for.

At small batches a network's time is that of its launches. A call of shapes that are new runs as it is, which also readies
every kernel and table, the second one is recorded, all others are replayed. Those used lately are kept.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

Run = Callable[..., tuple[Tensor, ...]]
Launch = Callable[[], None]


@dataclass
class _Recording:
    """A graph with the memory that it reads its arguments from and writes its results to."""

    replay: Launch
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class Recorder:
    """Runs functions of tensors, recorded where that can be.

    What is recorded must not read a value on the host, draw random numbers or depend on anything but its arguments' values and
    its name. All recordings share one pool of memory, since one runs at a time: calls hold `lock`, and threads must launch on
    one stream, as they do unless told otherwise. Where recording fails, everything runs as it is from then on, with a warning.

    Args:
        most: recordings kept; those used longest ago go first.

    Attributes:
        lock: held during a call; who hands over memory of his own holds it from writing it to reading it.
        failure: why nothing is recorded any more, or empty.
    """

    def __init__(self, most: int = 128) -> None:
        self.most, self.failure = most, ""
        self.lock = threading.RLock()
        self._recordings: OrderedDict[tuple, _Recording | None] = OrderedDict()
        self._pool: tuple | None = None
        self._side: torch.cuda.Stream | None = None

    def __call__(self, name: Hashable, run: Run, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What ``run(*given)`` returns, in tensors of the caller's own.

        Args:
            name: of the function and of all that it depends on besides its arguments: calls of one name and equal shapes and
                types must do the same.
            run: takes tensors, does not write to them and returns a tuple of tensors.
            given: its arguments.
        """
        if not self._can_record(given):
            return run(*given)
        key = (name, tuple((tensor.shape, tensor.dtype) for tensor in given))
        with self.lock:
            new = key not in self._recordings
            recording = self._recordings.setdefault(key, None)
            self._recordings.move_to_end(key)
            while len(self._recordings) > self.most:
                self._recordings.popitem(last=False)
            if recording is None and not new and not self.failure:
                recording = self._recordings[key] = self._build(run, given)
            if recording is None:
                return run(*given)
            _copy(recording.inputs, given)
            recording.replay()
            results = tuple(torch.empty_like(tensor) for tensor in recording.outputs)
            _copy(results, recording.outputs)
            return results

    def forget(self) -> None:
        """Let all recordings go, because memory that they read is no longer what is handed over."""
        with self.lock:
            self._recordings.clear()
            self._pool = None  # torch does not take a pool up again that no graph holds any more

    @property
    def count(self) -> int:
        """Recordings held."""
        return sum(recording is not None for recording in self._recordings.values())

    def _build(self, run: Run, given: Sequence[Tensor]) -> _Recording | None:
        # Written at each call, in inference mode or not.
        with torch.inference_mode(False):
            inputs = [tensor.clone() for tensor in given]
        try:
            return _Recording(*self._record(lambda: run(*inputs), inputs))
        except RuntimeError as error:
            self.failure = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"CUDA graphs are not used, which is slower: {self.failure}", stacklevel=3)
            return None

    def _can_record(self, given: Sequence[Tensor]) -> bool:
        # Autocast keeps copies of weights that would lie in a graph's memory.
        return given[0].device.type == "cuda" and not torch.is_grad_enabled() and not torch.is_autocast_enabled()

    def _record(
        self, run: Callable[[], tuple[Tensor, ...]], inputs: Sequence[Tensor]
    ) -> tuple[Launch, Sequence[Tensor], Sequence[Tensor]]:
        """Record what `run` launches: what launches it again, the inputs, the results."""
        device = inputs[0].device
        # One stream for all: cuBLAS keeps a workspace for each stream that it ever saw.
        self._side = self._side or torch.cuda.Stream(device)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            # The generator's place for graphs, made by the first one, must serve those of training too.
            with torch.inference_mode(False):
                graph.capture_begin(self._pool, capture_error_mode="thread_local")
            try:
                outputs = run()
                graph.capture_end()
            except BaseException:
                self._abandon(graph, device)
                raise
        current.wait_stream(self._side)
        return graph.replay, inputs, outputs

    def _abandon(self, graph: torch.cuda.CUDAGraph, device: torch.device) -> None:
        """End what failed, so that the device and its allocator serve everything else as before."""
        with suppress(RuntimeError):
            graph.capture_end()
        # A capture that could not be ended leaves the allocator believing that it goes on.
        with suppress(RuntimeError, AttributeError):
            torch._C._cuda_endAllocateToPool(device.index, self._pool)


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy many tensors, those of one type with few launches."""
    for kind in dict.fromkeys(tensor.dtype for tensor in targets):
        pairs = [(target, source) for target, source in zip(targets, sources, strict=True) if target.dtype == kind]
        torch._foreach_copy_(*map(list, zip(*pairs, strict=True)))
