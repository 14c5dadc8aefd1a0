"""The encoder of the flow for one hop of many streams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamtra.acoustic.hop_pool import HopPool
from mamtra.acoustic.stream_cache import LayerCache
from mamtra.acoustic.token_encoder import RelativeAttention, UpsampleConformer, encode_distances, relative_positions
from mamtra.ops.places import Places


class EncoderHop(LayerCache):
    """What the encoder reads and writes in a hop.

    Args:
        encoder: of the flow.
        pool: of the streams.
        rows: (B,) int64 rows of the streams in the pool.
        places: of their pages, in tokens.
    """

    def __init__(self, encoder: UpsampleConformer, pool: HopPool, rows: Tensor, places: Places) -> None:
        self._inputs = {encoder.pre_lookahead_layer.conv2: pool.lookahead, encoder.up_layer.conv: pool.upsampled}
        stacks = zip(pool.encoder, (encoder.encoders, encoder.up_encoders), strict=True)
        self._pages = {block.self_attn: pages[i] for pages, stack in stacks for i, block in enumerate(stack)}
        self._rows, self._table, self._target = rows, places.table(), places.target

    def prepend(self, layer: nn.Module, x: Tensor, count: int) -> Tensor:
        """See `LayerCache`."""
        joined = torch.cat([self._inputs[layer][self._rows], x], dim=1)
        self._inputs[layer][self._rows] = joined[:, joined.shape[1] - count :]
        return joined

    def append(self, layer: RelativeAttention, name: str, x: Tensor) -> Tensor:
        """See `LayerCache`; keys of all pages in the table, of unused ones too, and then the new ones."""
        pages = self._pages[layer][:, ("key", "value").index(name)]
        kept = pages[self._table].flatten(1, 2)
        new = x.transpose(1, 2).flatten(2)
        # The page may be one of those that were read.
        pages[self._target] = new
        return torch.cat([kept, new], dim=1).unflatten(2, (layer.heads, -1)).transpose(1, 2)


def encode_hop(
    encoder: UpsampleConformer, embedded: Tensor, pool: HopPool, rows: Tensor, places: Places, offset: Tensor
) -> Tensor:
    """Hidden states (B, frames, width) of a hop.

    Args:
        encoder: of the flow.
        embedded: (B, chunk + lookahead, width) from `InputProjection`, zero where there is no token.
        pool: of the streams.
        rows: (B,) int64 rows of the streams in the pool.
        places: of their pages, in tokens.
        offset: (B,) tokens of each stream before these.
    """
    chunk, kept = pool.sizes.chunk, EncoderHop(encoder, pool, rows, places)
    x = encoder.pre_lookahead_layer(embedded[:, :chunk], embedded[:, chunk:], kept)
    x = _run(encoder.encoders, x, kept, places, offset)
    x = encoder.up_embed(encoder.up_layer(x, kept))
    x = _run(encoder.up_encoders, x, kept, places.at(encoder.stride), offset * encoder.stride)
    return encoder.after_norm(x)


def _run(blocks: nn.ModuleList, x: Tensor, kept: EncoderHop, places: Places, offset: Tensor) -> Tensor:
    """Blocks at one rate."""
    _, size, width = x.shape
    positions = [relative_positions(size, width, x.device, places.ring.shape[1] * size).to(x.dtype)]
    if places.prefix.shape[1]:
        # Distances to the prefix differ from row to row, those to the window do not.
        keys = places.prefix.shape[1] * size
        distance = offset[:, None] + size - 1 - torch.arange(keys + size - 1, device=x.device)
        positions.insert(0, encode_distances(distance.float(), width).to(x.dtype))
    mask = places.visible(size)[:, None, None]
    for block in blocks:
        x = block(x, positions, mask, kept)
    return x
