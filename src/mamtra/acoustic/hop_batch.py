"""One hop of many streams as one launch: flow and vocoder in a captured graph for each number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hift import HiFT
from mamtra.acoustic.hop_flow import HopInputs, flow_hop, hop_flow
from mamtra.acoustic.hop_pool import HopPool
from mamtra.acoustic.hop_rows import Hop
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.acoustic.hop_vocoder import HopVocoder
from mamtra.ops.paged_attention import Places
from mamtra.runtime.cuda_graphs import GraphCache

LARGEST = 256
"""Rows of a hop."""


@dataclass(frozen=True)
class HopSound:
    """What a hop made, still on the device.

    Attributes:
        samples: (B, samples) float32.
        mel: (B, mel, frames) float32.
    """

    samples: Tensor
    mel: Tensor


class HopBatch:
    """Runs hops of any rows of a pool.

    Args:
        flow: of CosyVoice 2's kind, in evaluation mode.
        vocoder: of CosyVoice 2's kind.
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
        vocoder: HiFT,
        sizes: HopSizes,
        *,
        streams: int,
        pages: int,
        guidance: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.flow, self._guidance = hop_flow(flow, dtype or flow.encoder_proj.weight.dtype), guidance
        self.sound = HopVocoder(vocoder, sizes.frames)
        self.pool = HopPool(self.flow, sizes, streams, pages, self.sound.state)
        self.device = self.pool.sound.device
        self.graphs = GraphCache(self.device, capacity=None)

    @torch.inference_mode()
    def __call__(self, hops: Sequence[Hop]) -> HopSound:
        """Compute one hop of each row, without waiting for it.

        Args:
            hops: up to `LARGEST` of different rows.
        """
        count = len(hops)
        rows, front = bucket(count), chunks(max(len(hop.prefix) for hop in hops))
        packed = self._pack(hops, rows, front)
        name = ("hop", rows, front)
        if self.device.type != "cuda":
            samples, mel = self._run(front, packed)
        else:
            if not self.graphs.has(name, [packed]):
                # Rows that belong to nobody.
                idle = self._pack([], rows, front)
                self.graphs.capture(name, lambda given: self._run(front, given), [idle])
            samples, mel = self.graphs.replay(name, [packed])
        return HopSound(samples[:count], mel[:count])

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
        idle = [width, sizes.chunk, *[0] * (9 + width + front + ring)]
        packed = torch.tensor(lines + [idle] * (rows - len(hops)), dtype=torch.int64)
        return packed.pin_memory() if self.device.type == "cuda" else packed

    def _run(self, front: int, packed: Tensor) -> tuple[Tensor, Tensor]:
        pool, sizes = self.pool, self.pool.sizes
        known, fresh, prefix, ring, row, offset, given, target, begin, end, noise = packed[:, :11].unbind(1)
        tokens, front_pages, ring_pages = packed[:, 11:].split(
            [sizes.chunk + sizes.lookahead, front, sizes.ring], dim=1
        )
        places = Places(front_pages, prefix, ring_pages, ring, target, fresh, sizes.hidden)
        mel = flow_hop(self.flow, pool, HopInputs(row, tokens, known, offset, given, places), self._guidance)
        samples, state = self.sound(mel, pool.sound[row], begin, end, noise)
        pool.sound[row] = state
        return samples, mel


def bucket(count: int) -> int:
    """Rows of the graph for so many: a power of two, so that there are few graphs."""
    return 1 << (count - 1).bit_length()


def chunks(count: int) -> int:
    """Pages in front in the graph for rows with up to so many: 2, 4, 8, and so on."""
    return max(2, 1 << (count - 1).bit_length()) if count else 2


def _filled(values: list[int], size: int) -> list[int]:
    return values + [0] * (size - len(values))
