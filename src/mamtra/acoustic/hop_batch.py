"""One hop of many streams as one launch: flow and vocoder in a captured graph for each number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count as count_from

import torch
from torch import Tensor

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.hop_flow import HopInputs, flow_hop, hop_flow
from mamtra.acoustic.hop_pool import HopPool
from mamtra.acoustic.hop_rows import Hop
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.acoustic.hop_vocoder import HopVocoder
from mamtra.acoustic.pitch_range import PitchRange
from mamtra.acoustic.source_filter import SourceFilter
from mamtra.ops.places import Places
from mamtra.runtime.cuda_graphs import GraphCache

LARGEST = 256
"""Rows of a hop."""
NUMBERS = 11
"""Of a row, before its tokens and pages."""


class HopBatch:
    """Runs hops of any rows of a pool.

    Args:
        flow: of CosyVoice 2's kind, in evaluation mode.
        vocoder: of CosyVoice 2's kind or at frame rate.
        sizes: of the hops.
        streams: rows of the pool.
        pages: of prompts in the pool.
        guidance: as in `CausalFlow.inference`.
        dtype: of the flow's weights and of what is kept of it; None takes that of `flow`.

    Attributes:
        flow: what computes the hops.
        pool: the memory.
        sound: the vocoder.
        graphs: what was captured; on a CPU nothing is.
    """

    def __init__(
        self,
        flow: Flow,
        vocoder: HiFT | SourceFilter,
        sizes: HopSizes,
        *,
        streams: int,
        pages: int,
        guidance: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.flow = hop_flow(flow, dtype or flow.encoder_proj.weight.dtype, sizes.steps)
        self._guidance = guidance
        self.sound = HopVocoder(vocoder, sizes.frames)
        self.pool = HopPool(self.flow, sizes, streams, pages, self.sound.state)
        self.device = self.pool.sound.device
        self.graphs = GraphCache(self.device, capacity=None)
        self._host: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, hops: Sequence[Hop]) -> Tensor:
        """Samples (B, samples) float32 of one hop of each row, on the device; nothing waits for them.

        Args:
            hops: up to `LARGEST` of different rows.
        """
        tails = [place for place, hop in enumerate(hops) if not hop.tokens]
        if not tails:
            return self._launch(self._hop, hops)[: len(hops)]
        others = [place for place, hop in enumerate(hops) if hop.tokens]
        groups = [(self._tail, tails), (self._hop, others)] if others else [(self._tail, tails)]
        made = [self._launch(run, [hops[place] for place in places])[: len(places)] for run, places in groups]
        order = sorted(range(len(hops)), key=[*tails, *others].__getitem__)
        return torch.cat(made)[order]

    def fetch(self, hops: Sequence[Hop]) -> Tensor:
        """`__call__` with the samples on the host, in memory that the next call writes to."""
        samples = self(hops)
        if self.device.type != "cuda":
            return samples
        if self._host is None or len(self._host) < len(samples):
            self._host = torch.empty(bucket(len(samples)), samples.shape[1], pin_memory=True)
        return self._host[: len(samples)].copy_(samples)

    def capture(self, rows: int, front: int = 0) -> None:
        """Capture the graphs for so many rows with so many pages in front, so that no stream waits for it later."""
        for run in (self._hop, self._tail):
            self._launch(run, [], rows, front)

    def _launch(self, run: Callable[[Tensor], Tensor], hops: Sequence[Hop], rows: int = 1, front: int = 0) -> Tensor:
        """Samples of the rows, then of those that fill up the batch."""
        rows = bucket(max(rows, len(hops)))
        front = chunks(max([front, *(len(hop.prefix) for hop in hops)]))
        packed = self._pack(hops, rows, front)
        if self.device.type != "cuda":
            return run(packed)
        name = run.__name__
        if not self.graphs.has(name, [packed]):
            # In rows that belong to nobody.
            self.graphs.capture(name, lambda given: (run(given),), [self._pack([], rows, front)])
        return self.graphs.replay(name, [packed])[0]

    def _pack(self, hops: Sequence[Hop], rows: int, front: int) -> Tensor:
        """(rows, numbers) int64 on the host: one copy to the device instead of a dozen."""
        sizes, ring = self.pool.sizes, self.pool.sizes.ring
        width = sizes.chunk + sizes.lookahead
        lines = []
        for hop in hops:
            counts = len(hop.tokens), min(len(hop.tokens), sizes.chunk) or sizes.chunk, len(hop.prefix), len(hop.ring)
            pages = *_filled(hop.prefix, front), *[0] * (ring - len(hop.ring)), *hop.ring
            places = hop.row, hop.offset, hop.given, hop.target, hop.begin, hop.end, hop.noise
            lines.append([*counts, *places, *_filled(hop.tokens, width), *pages])
        idle = [width, sizes.chunk, *[0] * (NUMBERS - 2 + width + front + ring)]
        packed = torch.tensor(lines + [idle] * (rows - len(hops)), dtype=torch.int64)
        return packed.pin_memory() if self.device.type == "cuda" else packed

    def _hop(self, packed: Tensor) -> Tensor:
        """Flow and vocoder."""
        sizes, width = self.pool.sizes, self.pool.sizes.chunk + self.pool.sizes.lookahead
        known, fresh, prefix, ring, row, offset, given, target = packed[:, :8].unbind(1)
        numbers = [width, packed.shape[1] - NUMBERS - width - sizes.ring, sizes.ring]
        tokens, front_pages, ring_pages = packed[:, NUMBERS:].split(numbers, dim=1)
        places = Places(front_pages, prefix, ring_pages, ring, target, fresh, sizes.hidden)
        hop = HopInputs(row, tokens, known, offset, given, places)
        return self._sound(packed, flow_hop(self.flow, self.pool, hop, self._guidance))

    def _tail(self, packed: Tensor) -> Tensor:
        """The vocoder alone, whose window still holds frames."""
        sizes = self.pool.sizes
        return self._sound(packed, torch.zeros(len(packed), sizes.mel, sizes.frames, device=self.device))

    def _sound(self, packed: Tensor, mel: Tensor) -> Tensor:
        row, (begin, end, noise) = packed[:, 4], packed[:, 8:NUMBERS].unbind(1)
        pitch_range = PitchRange(*self.pool.pitch_range[row].split(1, dim=1))
        samples, self.pool.sound[row] = self.sound(mel, self.pool.sound[row], begin, end, noise, pitch_range)
        return samples


def bucket(count: int) -> int:
    """Rows of the graph for so many: a power of two, so that there are few graphs."""
    return 1 << (count - 1).bit_length()


def chunks(count: int) -> int:
    """Pages in front in the graph for rows with up to so many: 4, 16, 64, and so on."""
    return next(size for power in count_from(1) if (size := 4**power) >= count)


def _filled(values: list[int], size: int) -> list[int]:
    return values + [0] * (size - len(values))
