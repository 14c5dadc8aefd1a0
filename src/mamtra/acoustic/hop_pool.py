"""Memory of many streams in buffers that are made once: pages of keys and values, and the last inputs of convolutions.

A page holds one chunk at all layers, evaluations and branches. A stream has as many as its window needs and writes them in turn;
the pages of a voice's prompt are read by all streams of that voice. Row 0 and page 0 belong to nobody: rows that fill up a batch
write there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.acoustic.flow import Flow
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.acoustic.static_cache import BufferPlan


def page_bytes(flow: Flow, sizes: HopSizes, dtype: torch.dtype) -> int:
    """Bytes of a page whose numbers have a type."""
    plan, width = BufferPlan(flow.decoder.estimator), flow.config.input_size
    estimator = sizes.steps * sizes.branches * plan.rows * plan.width * sizes.frames
    blocks = len(flow.encoder.encoders) * sizes.chunk + len(flow.encoder.up_encoders) * sizes.frames
    return (estimator + 2 * blocks * width) * dtype.itemsize


class HopPool:
    """Buffers and who owns what of them.

    Args:
        flow: whose type and device they have.
        sizes: of the hops.
        streams: rows.
        pages: chunks of prompts, besides those of the streams.
        sound: numbers that the vocoder keeps of a stream.

    Attributes:
        streams: see above.
        prompt_pages: `pages`.
        free_rows: of no stream.
        free_pages: of no voice.
        plan: of the estimator.
        flow: (steps, layers, N, branches, 2, frames, width) keys and values of the estimator.
        encoder: two of (layers, N, 2, positions, width), at token and at mel rate.
        inputs: (rows, steps, branches, context, channels) last inputs of the estimator's convolutions.
        lookahead: (rows, 2, width) of the encoder's first layer.
        upsampled: (rows, context, width) of its upsampling.
        speaker: (rows, mel).
        given: (rows, 3, mel, frames) the prompt's mel in the first two hops of a stream, then zeros.
        pitch_range: (rows, 2) float32 middle and factor of the voice's `PitchRange`.
        sound: (rows, numbers) float32 of the vocoder.
    """

    def __init__(self, flow: Flow, sizes: HopSizes, streams: int, pages: int, sound: int) -> None:
        self.sizes, self.plan, self.streams, self.prompt_pages = (
            sizes,
            BufferPlan(flow.decoder.estimator),
            streams,
            pages,
        )
        like, encoder, width = flow.encoder_proj.weight, flow.encoder, flow.config.input_size
        plan, rows, count = self.plan, streams + 1, streams * sizes.ring + pages + 1

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=like.dtype, device=like.device)

        with torch.inference_mode(False):
            self.flow = zeros(sizes.steps, plan.rows // 2, count, sizes.branches, 2, sizes.frames, plan.width)
            self.encoder = (
                zeros(len(encoder.encoders), count, 2, sizes.chunk, width),
                zeros(len(encoder.up_encoders), count, 2, sizes.frames, width),
            )
            self.inputs = zeros(rows, sizes.steps, sizes.branches, plan.context, plan.channels)
            self.lookahead = zeros(rows, encoder.pre_lookahead_layer.conv2.kernel_size[0] - 1, width)
            self.upsampled = zeros(rows, encoder.up_layer.conv.kernel_size[0] - 1, width)
            self.speaker = zeros(rows, sizes.mel)
            self.given = zeros(rows, 3, sizes.mel, sizes.frames)
            self.pitch_range = torch.ones(rows, 2, device=like.device)
            self.sound = torch.zeros(rows, sound, device=like.device)
        self._page_bytes = page_bytes(flow, sizes, like.dtype)
        self.free_rows = list(range(streams, 0, -1))
        self.free_pages = list(range(count - 1, streams * sizes.ring, -1))

    @property
    def states(self) -> tuple[Tensor, ...]:
        """What a stream takes over from the prompt of its voice, by row."""
        return self.inputs, self.lookahead, self.upsampled

    @property
    def stream_bytes(self) -> int:
        """Of a stream, besides what it shares with others of its voice."""
        kept = (*self.states, self.speaker, self.given, self.pitch_range, self.sound)
        return self.sizes.ring * self._page_bytes + sum(each.nbytes // len(each) for each in kept)

    def ring(self, row: int) -> list[int]:
        """The pages of a stream's window."""
        first = 1 + (row - 1) * self.sizes.ring
        return list(range(first, first + self.sizes.ring))

    def clean(self, pages: list[int]) -> None:
        """Zero pages that hold what is not a number."""
        at = torch.tensor(pages, device=self.flow.device)
        self.flow[:, :, at] = 0
        for kept in self.encoder:
            kept[:, at] = 0
