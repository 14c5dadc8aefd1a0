"""CUDA graphs: a captured function is launched by the host as one call instead of kernel by kernel.

At small batches a network's time on a GPU is that of its launches, often more than a thousand a call. Everything in the
package that is captured goes through `GraphCache`, which keeps one graph for each function and set of input shapes.
"""

from __future__ import annotations

import gc
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Function = Callable[..., tuple[Tensor, ...]]
Launch = Callable[[], None]
Result = TypeVar("Result")

_ONE_CAPTURE = threading.RLock()
"""Held by whatever captures, whichever thread and cache it belongs to: while one thread captures, no other may wait for the whole
device or return memory to it, and torch's default random generator takes part in one capture at a time."""


class CudaGraphs:
    """Captures on a side stream into one memory pool; the only place that touches `torch.cuda.CUDAGraph`.

    Args:
        device: on which everything runs.

    Attributes:
        available: whether the device can capture at all.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.available = device.type == "cuda"
        self._pool: tuple | None = None
        self._side: torch.cuda.Stream | None = None

    def warm_up(self, run: Callable[[], object], runs: int = 2) -> None:
        """Run eagerly on the side stream, which loads kernels and fills tables, and return unused memory to the device."""
        with _ONE_CAPTURE:
            current = self._fork()
            with torch.cuda.stream(self._side):
                for _ in range(runs):
                    run()
            current.wait_stream(self._side)
            # Capturing allocates, but cannot free what the allocator has cached.
            torch.cuda.synchronize(self.device)
            gc.collect()
            torch.cuda.empty_cache()

    def capture(self, run: Callable[[], Result]) -> tuple[Launch, Result]:
        """Capture what `run` launches.

        Returns:
            what launches it again, and what `run` returned: the tensors that each launch writes to.

        Raises:
            RuntimeError: `run` does what no graph can hold, such as reading a value on the host.
        """
        with _ONE_CAPTURE:
            return self._capture(run)

    def _capture(self, run: Callable[[], Result]) -> tuple[Launch, Result]:
        graph, current = torch.cuda.CUDAGraph(), self._fork()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.cuda.stream(self._side):
            # The first capture makes the generator's state for graphs, which training must be able to use too.
            with torch.inference_mode(False):
                graph.capture_begin(self._pool, capture_error_mode="thread_local")
            try:
                outputs = run()
                graph.capture_end()
            except BaseException:
                self._abort(graph)
                raise
        current.wait_stream(self._side)
        return graph.replay, outputs

    def reset(self) -> None:
        """Start a new memory pool, once all graphs are dropped: torch does not reopen a pool that no graph holds."""
        self._pool = None

    def _fork(self) -> torch.cuda.Stream:
        """Let the side stream wait for the current one, and return the latter."""
        # One side stream for all: cuBLAS keeps a workspace for each stream that it ever saw.
        current = torch.cuda.current_stream(self.device)
        # Kernels of a graph have the priority of the stream on which they were captured.
        self._side = self._side or torch.cuda.Stream(self.device, current.priority)
        self._side.wait_stream(current)
        return current

    def _abort(self, graph: torch.cuda.CUDAGraph) -> None:
        """End a failed capture, so that the device and its allocator work as before."""
        with suppress(RuntimeError):
            graph.capture_end()
        # A capture that could not be ended leaves the allocator in capture mode.
        with suppress(RuntimeError, AttributeError):
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            torch._C._cuda_endAllocateToPool(index, self._pool)


@dataclass(frozen=True)
class _Captured:
    """A graph with the buffers that it reads its inputs from and writes its results to."""

    launch: Launch
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class GraphCache:
    """Captured graphs by function and input shapes.

    A captured function must not read a value on the host, use a random generator but the device's default one or depend on
    anything but its name and its inputs' values. All graphs share one memory pool, since one runs at a time: calls hold
    `lock`, and threads must launch on one stream, as they do by default.

    Inference calls the cache: a function with new shapes runs eagerly, is captured at the second call and replayed from
    then on. If a capture fails, everything runs eagerly from then on, with a warning. Training and decoding `capture` before
    they begin and then `replay`.

    Args:
        device: on which everything runs; on anything but CUDA every call is eager.
        capacity: graphs kept; the least recently used is dropped first. None keeps all.
        backend: captures; by default CUDA graphs.

    Attributes:
        lock: held during a call; a caller that hands over buffers of its own holds it while they are in use.
        failure: why nothing is captured any more, or empty.
    """

    def __init__(
        self, device: torch.device | str, capacity: int | None = 128, backend: CudaGraphs | None = None
    ) -> None:
        self.device, self.capacity, self.failure = torch.device(device), capacity, ""
        self.lock = threading.RLock()
        self._backend = backend or CudaGraphs(self.device)
        self._graphs: OrderedDict[tuple, _Captured | None] = OrderedDict()

    def __call__(self, name: Hashable, function: Function, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return what ``function(*inputs)`` returns, in new tensors; for inference.

        Args:
            name: of the function and of all that it depends on besides its inputs: calls of one name and equal shapes and
                types must do the same.
            function: takes tensors, does not write to them and returns a tuple of tensors.
            inputs: its arguments.
        """
        # Autocast caches copies of weights, which would lie in a graph's memory.
        if not self._backend.available or torch.is_grad_enabled() or torch.is_autocast_enabled():
            return function(*inputs)
        key = _key((name, *(tensor.dtype for tensor in inputs)), inputs)
        with self.lock:
            new = key not in self._graphs
            captured = self._graphs.setdefault(key, None)
            self._graphs.move_to_end(key)
            while self.capacity is not None and len(self._graphs) > self.capacity:
                self._graphs.popitem(last=False)
            if captured is None and not new and not self.failure:
                captured = self._graphs[key] = self._try_capture(function, inputs)
            return function(*inputs) if captured is None else _launch(captured, inputs)

    def capture(
        self, name: Hashable, function: Function, inputs: Sequence[Tensor], restore: Sequence[Tensor] = ()
    ) -> None:
        """Warm a function up and capture it now.

        Args:
            name: as in `__call__`.
            function: takes tensors and returns a tuple of tensors; it may update others in place.
            inputs: of the shapes to capture, on any device; their values are those of the warm-up.
            restore: tensors that the function updates and whose values the warm-up must not change.

        Raises:
            RuntimeError: it cannot be captured.
        """
        with self.lock:
            buffers = self._buffers(inputs)
            saved = [tensor.detach().clone() for tensor in restore]
            self._backend.warm_up(lambda: function(*buffers))
            self._graphs[_key(name, inputs)] = self._capture(function, buffers)
            _copy(restore, saved)

    def replay(self, name: Hashable, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run what `capture` captured under this name for inputs of these shapes, from any device and of any type.

        Raises:
            KeyError: it was not captured for them.
        """
        with self.lock:
            return _launch(self._graphs[_key(name, inputs)], inputs)

    def has(self, name: Hashable, inputs: Sequence[Tensor]) -> bool:
        """Whether `replay` can run this name for inputs of these shapes."""
        return self._graphs.get(_key(name, inputs)) is not None

    def clear(self) -> None:
        """Drop all graphs, because buffers that they read are about to be replaced."""
        with self.lock:
            self._graphs.clear()
            self._backend.reset()

    @property
    def count(self) -> int:
        """Graphs held."""
        return sum(captured is not None for captured in self._graphs.values())

    def _buffers(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        # Written at each call, in inference mode or not.
        with torch.inference_mode(False), torch.no_grad():
            return [tensor.to(self.device, copy=True) for tensor in inputs]

    def _capture(self, function: Function, buffers: Sequence[Tensor]) -> _Captured:
        launch, outputs = self._backend.capture(lambda: function(*buffers))
        return _Captured(launch, buffers, outputs)

    def _try_capture(self, function: Function, inputs: Sequence[Tensor]) -> _Captured | None:
        try:
            buffers = self._buffers(inputs)
            # This thread may have no handles of cuBLAS and cuDNN yet, and a capture cannot make them.
            function(*buffers)
            return self._capture(function, buffers)
        except RuntimeError as error:
            self.failure = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"CUDA graphs are not used, which is slower: {self.failure}", stacklevel=3)
            return None


def _key(name: Hashable, inputs: Sequence[Tensor]) -> tuple:
    return name, tuple(tensor.shape for tensor in inputs)


def _launch(captured: _Captured, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Copy the inputs in, replay, copy the results out."""
    _copy(captured.inputs, inputs)
    captured.launch()
    results = tuple(torch.empty_like(tensor) for tensor in captured.outputs)
    _copy(results, captured.outputs)
    return results


@torch.no_grad()
def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy many tensors, those of one type with few launches."""
    for kind in dict.fromkeys(tensor.dtype for tensor in targets):
        pairs = [(target, source) for target, source in zip(targets, sources, strict=True) if target.dtype == kind]
        torch._foreach_copy_(*map(list, zip(*pairs, strict=True)), non_blocking=True)
