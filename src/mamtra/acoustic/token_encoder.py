"""Upsampling Conformer encoder of the flow: 25 Hz speech tokens to 50 Hz hidden states.

Structure and parameter names follow the CosyVoice 2 release: a look-ahead convolution, blocks at token rate, nearest
upsampling with a causal convolution, blocks at mel rate. Attention uses the relative positions of Transformer-XL
(Dai et al. 2019, section 3.3); the blocks have no convolution module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.attention import attend
from mamtra.acoustic.convolution import Conv1d
from mamtra.acoustic.masks import attention_mask, valid_positions
from mamtra.acoustic.stream_cache import StreamCache


def relative_positions(size: int, width: int, device: torch.device, offset: int = 0, keys: int | None = None) -> Tensor:
    """Sinusoidal table of the distances from queries to keys, both neighbours: offset+T-1 (first key, last query) and down.

    Args:
        size: number of queries T.
        width: even embedding width D.
        device: where to build it.
        offset: positions from the first key to the first query.
        keys: number of keys K; by default up to the last query.

    Returns:
        (K+T-1, D) float32, sine in even and cosine in odd columns.
    """
    end = -size if keys is None else offset - keys
    return encode_distances(torch.arange(offset + size - 1, end, -1, device=device, dtype=torch.float32), width)


def encode_distances(distance: Tensor, width: int) -> Tensor:
    """Sinusoidal table (..., width) of float32 distances: sine in even and cosine in odd columns."""
    rate = torch.exp(
        torch.arange(0, width, 2, device=distance.device, dtype=torch.float32) * (-math.log(10000.0) / width)
    )
    angle = distance[..., None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


def align_distances(by_distance: Tensor) -> Tensor:
    """View scores by distance as scores by key.

    Of K keys and T queries, all neighbours, each row of the input begins with the distance of the last query to the first key, so
    key j of row i sits at column T-1-i+j: in the flattened matrix each row starts width - 1 entries after the one before it.

    Args:
        by_distance: (..., T, K+T-1), contiguous in the last two dimensions.

    Returns:
        (..., T, K).
    """
    size, width = by_distance.shape[-2:]
    if size == 1:
        return by_distance
    flat = by_distance.flatten(-2)[..., size - 1 : size - 1 + size * (width - 1)]
    return flat.unflatten(-1, (size, width - 1))[..., : width - size + 1]


class RelativeAttention(nn.Module):
    """Multi-head self-attention with relative positions.

    Args:
        width: model width D.
        heads: number of heads; divides D.
        dropout: dropout of the attention weights in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.head_dim, self.dropout = heads, width // heads, dropout
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, self.head_dim)))
        self.pos_bias_v = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, self.head_dim)))

    def forward(
        self, x: Tensor, positions: Sequence[Tensor], mask: Tensor | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Attend.

        Args:
            x: (B, T, D).
            positions: (K+T-1, D), or (B, K+T-1, D), from `relative_positions` for each run of K neighbouring keys.
            mask: bool broadcastable to (B, heads, T, keys), True visible, or None.
            cache: holds keys and values of earlier positions; None if there are none.

        Returns:
            (B, T, D).
        """
        split = (self.heads, self.head_dim)
        q = self.linear_q(x).unflatten(-1, split)
        k = self.linear_k(x).unflatten(-1, split).transpose(1, 2)
        v = self.linear_v(x).unflatten(-1, split).transpose(1, 2)
        if cache is not None:
            k, v = cache.append(self, "key", k), cache.append(self, "value", v)
        by_content = (q + self.pos_bias_u).transpose(1, 2).to(v.dtype)
        by_position = (q + self.pos_bias_v).transpose(1, 2) * self.head_dim**-0.5
        tables = (self.linear_pos(run).unflatten(-1, split).movedim(-3, -1) for run in positions)
        by_key = [align_distances(torch.matmul(by_position, table)) for table in tables]
        bias = (torch.cat(by_key, dim=-1) if len(by_key) > 1 else by_key[0]).to(v.dtype)
        if mask is not None:
            bias = bias.masked_fill(~mask, float("-inf"))
        elif x.device.type != "cpu":
            # The scores are a view of any offset in memory; kernels of other devices need an aligned start.
            bias = bias.contiguous()
        dropout = self.dropout if self.training else 0.0
        out = attend(by_content, k, v, bias, dropout)
        return self.linear_out(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Linear, SiLU, linear.

    Args:
        width: model width.
        hidden: inner width.
        dropout: dropout after the activation in training.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, hidden)
        self.w_2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        return self.w_2(self.dropout(F.silu(self.w_1(x))))


class ConformerBlock(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual connection.

    Args:
        width: model width.
        heads: attention heads.
        hidden: feed-forward width.
        dropout: dropout of both branches in training.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(width, heads, dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.norm_mha = nn.LayerNorm(width, eps=1e-12)
        self.norm_ff = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, positions: Sequence[Tensor], mask: Tensor | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Map (B, T, D) to (B, T, D); the other arguments as in `RelativeAttention`."""
        x = x + self.dropout(self.self_attn(self.norm_mha(x), positions, mask, cache))
        return x + self.dropout(self.feed_forward(self.norm_ff(x)))


class InputProjection(nn.Module):
    """Linear and LayerNorm, scaled by sqrt(width) as Transformers do before adding a sinusoidal position encoding."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width), nn.Dropout(dropout))
        self.scale = math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, inputs) to (B, T, width)."""
        return self.out(x) * self.scale


class PreLookahead(nn.Module):
    """Residual pair of convolutions that lets every token depend on a few tokens after it.

    Args:
        width: model width.
        lookahead: tokens of look-ahead.
        hidden: channels between the two; `width` by default.
    """

    def __init__(self, width: int, lookahead: int, hidden: int | None = None) -> None:
        super().__init__()
        self.lookahead = lookahead
        self.conv1 = Conv1d(width, hidden or width, lookahead + 1)
        self.conv2 = Conv1d(hidden or width, width, 3)

    def forward(self, x: Tensor, context: Tensor | None, cache: StreamCache | None = None) -> Tensor:
        """Map (B, T, D) to (B, T, D).

        Args:
            x: (B, T, D).
            context: (B, lookahead, D) embedded tokens that follow, or None for zeros (the end of the utterance).
            cache: of a stream.
        """
        y = x.transpose(1, 2)
        y = F.pad(y, (0, self.lookahead)) if context is None else torch.cat([y, context.transpose(1, 2)], dim=2)
        y = F.leaky_relu(self.conv1(y)).transpose(1, 2)
        y = F.pad(y, (0, 0, 2, 0)) if cache is None else cache.prepend(self.conv2, y, 2)
        return x + self.conv2(y.transpose(1, 2)).transpose(1, 2)


class CausalUpsample(nn.Module):
    """Nearest-neighbour upsampling followed by a causal convolution.

    Args:
        width: model width.
        stride: upsampling factor.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Conv1d(width, width, 2 * stride + 1)

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        """Map (B, T, D) to (B, stride*T, D); `cache` holds the inputs of earlier positions."""
        y, context = x.repeat_interleave(self.stride, dim=1), 2 * self.stride
        y = F.pad(y, (0, 0, context, 0)) if cache is None else cache.prepend(self.conv, y, context)
        return self.conv(y.transpose(1, 2)).transpose(1, 2)


class UpsampleConformer(nn.Module):
    """The encoder.

    Args:
        width: input and model width D.
        heads: attention heads.
        hidden: feed-forward width.
        blocks: blocks at token rate.
        up_blocks: blocks at mel rate.
        lookahead: tokens of look-ahead.
        stride: mel frames for each token.
        dropout: dropout in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        blocks: int,
        up_blocks: int,
        lookahead: int,
        stride: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.embed = InputProjection(width, width, dropout)
        self.pre_lookahead_layer = PreLookahead(width, lookahead)
        self.encoders = nn.ModuleList(ConformerBlock(width, heads, hidden, dropout) for _ in range(blocks))
        self.up_layer = CausalUpsample(width, stride)
        self.up_embed = InputProjection(width, width, dropout)
        self.up_encoders = nn.ModuleList(ConformerBlock(width, heads, hidden, dropout) for _ in range(up_blocks))
        self.after_norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        context: Tensor | None = None,
        chunk: int = 0,
        clean_padding: bool = True,
        cache: StreamCache | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Encode.

        Args:
            x: (B, N, D) token embeddings, zero at padding.
            lengths: (B,) valid tokens, or None when nothing is padded.
            context: (B, lookahead, D) embeddings of the tokens that follow, used as look-ahead only; None at the end.
            chunk: chunk length in tokens for chunk-masked attention; 0 attends everywhere.
            clean_padding: zero the padding before the look-ahead convolution, so that a padded row gives what it
                gives alone. The original leaves the projection's bias there, which reaches the last `lookahead`
                tokens of padded rows: pass False to get its numbers.
            cache: of a stream; needs `lengths` None and `offset` a multiple of `chunk`.
            offset: tokens of the stream before these.

        Returns:
            (B, stride*N, D) hidden states; undefined beyond `lengths`.
        """
        valid = None if lengths is None else valid_positions(lengths, x.shape[1])
        x = self.embed(x)
        if valid is not None and clean_padding:
            x = x * valid[:, :, None]
        x = self.pre_lookahead_layer(x, None if context is None else self.embed(context), cache)
        x = self._run(self.encoders, x, valid, chunk, cache, offset)
        if valid is not None:
            valid = valid.repeat_interleave(self.stride, dim=1)
        x = self.up_embed(self.up_layer(x, cache))
        x = self._run(self.up_encoders, x, valid, chunk * self.stride, cache, offset * self.stride)
        return self.after_norm(x)

    @staticmethod
    def _run(
        blocks: nn.ModuleList, x: Tensor, valid: Tensor | None, chunk: int, cache: StreamCache | None, offset: int
    ) -> Tensor:
        size, width, device = x.shape[1], x.shape[2], x.device
        if cache is None:
            mask, runs = attention_mask(size, valid, chunk, device), [range(size)]
        else:
            mask = cache.visible(size, chunk, offset, device)
            runs = cache.span.at(chunk).runs(size, offset)
        positions = [relative_positions(size, width, device, offset - run.start, len(run)).to(x.dtype) for run in runs]
        for block in blocks:
            x = block(x, positions, mask, cache)
        return x
