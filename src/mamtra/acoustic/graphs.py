"""The flow's estimator through captured graphs: one pass over all frames, and the Euler steps of streams."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mamtra.acoustic.dit import DiT
from mamtra.acoustic.estimator import Estimator
from mamtra.acoustic.fused_estimator import FusedEstimator
from mamtra.acoustic.history import Span
from mamtra.acoustic.static_cache import BufferPlan, StaticCache, buffer_mask, pack, unpack
from mamtra.acoustic.stream_cache import StreamCache
from mamtra.runtime.cuda_graphs import GraphCache

KEYS = 128
"""Buffers hold a multiple of so many keys, so that streams of similar length share one, and masks are aligned for kernels."""


class GraphedEstimator:
    """Calls an estimator through a cache of graphs, with the arguments and results of `Estimator.forward`.

    Args:
        estimator: in evaluation mode; its weights must stay where they are.
        graphs: used by nothing else, since it is cleared when the buffer grows.
    """

    def __init__(self, estimator: Estimator | DiT, graphs: GraphCache) -> None:
        self._estimator, self._plan, self._graphs = estimator, BufferPlan(estimator), graphs
        fuse = isinstance(estimator, Estimator) and graphs.device.type == "cuda"
        self._whole = FusedEstimator(estimator) if fuse else estimator
        self._memory: Tensor | None = None
        self._made: tuple[tuple, tuple[Tensor, Tensor]] | None = None

    def __call__(
        self,
        x: Tensor,
        valid: Tensor | None,
        mu: Tensor,
        t: Tensor,
        spks: Tensor,
        cond: Tensor,
        chunk: int = 0,
        cache: StreamCache | None = None,
        offset: int = 0,
    ) -> Tensor:
        """See `Estimator.forward`."""
        if cache is not None:
            return self._continue(x, mu, t, spks, cond, chunk, cache, offset)

        def run(x: Tensor, mu: Tensor, t: Tensor, spks: Tensor, cond: Tensor, *valid: Tensor) -> tuple[Tensor]:
            return (self._whole(x, valid[0] if valid else None, mu, t, spks, cond, chunk),)

        return self._graphs(("pass", chunk), run, [x, mu, t, spks, cond, *([] if valid is None else [valid])])[0]

    def _continue(
        self, x: Tensor, mu: Tensor, t: Tensor, spks: Tensor, cond: Tensor, chunk: int, cache: StreamCache, offset: int
    ) -> Tensor:
        """A step of a stream. Whole chunks are computed, so that the last hop of an utterance has a known shape too."""
        frames = x.shape[2]
        size = -(-frames // chunk) * chunk
        span = cache.span.at(chunk)
        capacity = -(-sum(map(len, span.runs(size, offset))) // KEYS) * KEYS
        if size > frames:
            x, mu, cond = (F.pad(value, (0, size - frames)) for value in (x, mu, cond))
        with self._graphs.lock:
            keys = self._buffer(len(x), capacity, x)
            blocks = cache.get(self, "keys")
            inputs = cache.get(self, "inputs") or (x.new_zeros(len(x), self._plan.context, self._plan.channels),)
            pack(keys, size, blocks)
            given = [x, mu, t, spks, cond, *self._places(frames, size, offset, capacity, span, x), *inputs]
            slope, last_inputs = self._graphs(("step", capacity), partial(self._step, keys), given)
            # Nothing follows an incomplete chunk.
            if size == frames:
                cache.put(self, "keys", span.keep((*blocks, unpack(keys, size)), 2))
                cache.put(self, "inputs", (last_inputs,))
        return slope[:, :, :frames]

    def _step(
        self,
        keys: Tensor,
        x: Tensor,
        mu: Tensor,
        t: Tensor,
        spks: Tensor,
        cond: Tensor,
        mask: Tensor,
        offset: Tensor,
        inputs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        static = StaticCache(self._plan, keys, mask, offset, inputs)
        return self._estimator(x, None, mu, t, spks, cond, cache=static), static.last_inputs

    def _buffer(self, batch: int, capacity: int, like: Tensor) -> Tensor:
        """A view (rows, batch, capacity, width) of the one buffer that all steps share; it grows by doubling."""
        shape = (self._plan.rows, batch, capacity, self._plan.width)
        count, memory = torch.Size(shape).numel(), self._memory
        if memory is None or memory.dtype != like.dtype or len(memory) < count:
            self._memory = memory = None
            self._graphs.clear()
            doubled = 1 << (capacity // KEYS - 1).bit_length()
            with torch.inference_mode(False):
                self._memory = memory = like.new_empty(count // capacity * KEYS * doubled)
        return memory[:count].view(shape)

    def _places(
        self, frames: int, size: int, offset: int, capacity: int, span: Span, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`buffer_mask` and `offset` (1,) as a tensor, made once for all steps of a hop."""
        key = (frames, size, offset, capacity, span, like.device, like.dtype)
        if self._made is None or self._made[0] != key:
            place = torch.full((1,), float(offset), device=like.device)
            self._made = (key, (buffer_mask(*key[:5], like), place))
        return self._made[1]
