"""Vector-field estimator of the flow: a causal 1-D U-Net with Transformer blocks and one resolution.

Parameter names follow the CosyVoice 2 release, which inherits them from Matcha-TTS (Mehta et al. 2024).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.attention import attend
from mamtra.acoustic.convolution import WindowConv1d
from mamtra.acoustic.masks import additive, attention_mask, hide
from mamtra.acoustic.stream_cache import LayerCache


class CausalConv1d(WindowConv1d):
    """Convolution over the current and earlier positions.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size.
        groups: that the channels are divided into.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, groups=groups)
        self.context = kernel - 1

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T); `cache` holds the inputs of earlier positions."""
        # Padding the transpose keeps the time-major memory of the Transformer blocks.
        x = x.transpose(1, 2)
        x = F.pad(x, (0, 0, self.context, 0)) if cache is None else cache.prepend(self, x, self.context)
        return super().forward(x.transpose(1, 2))


class CausalBlock(nn.Module):
    """Causal convolution, LayerNorm over channels, Mish."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.ModuleDict({"0": CausalConv1d(inputs, outputs, 3), "2": nn.LayerNorm(outputs)})

    def forward(self, x: Tensor, mask: Tensor | None, cache: LayerCache | None = None) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T), padded frames zero."""
        y = self.block["0"](hide(x, mask), cache).transpose(1, 2)
        return hide(F.mish(self.block["2"](y)).transpose(1, 2), mask)


class CausalResnet(nn.Module):
    """Two causal blocks with the time embedding added in between, and a 1x1 skip.

    Args:
        inputs: input channels.
        outputs: output channels.
        time: width of the time embedding.
    """

    def __init__(self, inputs: int, outputs: int, time: int) -> None:
        super().__init__()
        self.mlp = nn.ModuleDict({"1": nn.Linear(time, outputs)})
        self.block1 = CausalBlock(inputs, outputs)
        self.block2 = CausalBlock(outputs, outputs)
        self.res_conv = WindowConv1d(inputs, outputs, 1)

    def forward(self, x: Tensor, mask: Tensor | None, time: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T); `time` is (B, time width) after its Mish."""
        h = self.block1(x, mask, cache) + self.mlp["1"](time)[:, :, None]
        return self.block2(h, mask, cache) + self.res_conv(hide(x, mask))


class SelfAttention(nn.Module):
    """Multi-head self-attention without position encoding; the convolutions around it give the positions.

    Args:
        width: model width.
        heads: number of heads.
        head_dim: width of one head.
        bias: of queries, keys and values.
    """

    def __init__(self, width: int, heads: int, head_dim: int, bias: bool = False) -> None:
        super().__init__()
        self.split = (heads, head_dim)
        self.to_q = nn.Linear(width, heads * head_dim, bias)
        self.to_k = nn.Linear(width, heads * head_dim, bias)
        self.to_v = nn.Linear(width, heads * head_dim, bias)
        self.to_out = nn.ModuleList([nn.Linear(heads * head_dim, width)])

    def forward(self, x: Tensor, mask: Tensor | None, cache: LayerCache | None = None) -> Tensor:
        """Map (B, T, width) to (B, T, width).

        Args:
            x: (B, T, width).
            mask: to add to the scores, broadcastable to (B, heads, T, keys), or None.
            cache: holds keys and values of earlier positions; None if there are none.
        """
        return self.attend(self.to_q(x), self.to_k(x), self.to_v(x), mask, cache)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cache: LayerCache | None) -> Tensor:
        """Attend with projected queries, keys and values (B, T, heads * head_dim); the rest as in `forward`."""
        q, k, v = (value.unflatten(-1, self.split).transpose(1, 2) for value in (q, k, v))
        out = attend(q, k, v, mask) if cache is None else cache.attend(self, q, k, v, mask)
        return self.to_out[0](out.transpose(1, 2).flatten(2))


class GeluProjection(nn.Module):
    """Linear followed by the exact GELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return F.gelu(self.proj(x))


class FourfoldFeedForward(nn.Module):
    """Feed-forward of four times the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"0": GeluProjection(width, 4 * width), "2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, width) to (B, T, width)."""
        return self.net["2"](self.net["0"](x))


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = SelfAttention(width, heads, head_dim)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FourfoldFeedForward(width)

    def forward(self, x: Tensor, mask: Tensor | None, cache: LayerCache | None = None) -> Tensor:
        """Map (B, T, width) to (B, T, width); `mask` and `cache` as in `SelfAttention`."""
        x = x + self.attn1(self.norm1(x), mask, cache)
        return x + self.ff(self.norm3(x))


class TimeEmbedding(nn.Module):
    """Two linear layers with SiLU over a sinusoidal encoding of the flow time.

    Args:
        inputs: even width of the sinusoidal encoding.
        outputs: width of the embedding.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.linear_1 = nn.Linear(inputs, outputs)
        self.linear_2 = nn.Linear(outputs, outputs)

    def begin_at_zero(self) -> TimeEmbedding:
        """Make every embedding zero, and return itself."""
        nn.init.zeros_(self.linear_2.weight)
        nn.init.zeros_(self.linear_2.bias)
        return self

    def forward(self, t: Tensor) -> Tensor:
        """Map times (B,) in [0, 1] to (B, outputs)."""
        encoding = encode_time(t, self.inputs).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(encoding)))


def encode_time(t: Tensor, width: int) -> Tensor:
    """Map flow times (B,) in [0, 1] to (B, width) float32, sines and then cosines of 1000 t over geometric wavelengths."""
    half = width // 2
    rate = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000) / (half - 1)))
    angle = 1000 * t.float()[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def embed_time(t: Tensor, time: nn.Module, length: nn.Module | None) -> Tensor:
    """The embedding of flow times (B,), or of the times and lengths (B, 2) of the steps of a few-step flow.

    Args:
        t: see above.
        time: embeds the times.
        length: embeds the lengths; None where the flow takes steps of any length.
    """
    return time(t) if length is None else time(t[:, 0]) + length(t[:, 1])


class Estimator(nn.Module):
    """dx/dt of the mel at flow time t, given encoder output, speaker and prompt mel.

    The one of a few-step flow is told how long the step is too, and estimates the mean of dx/dt over it (MeanFlow, Geng et al.
    2025); an untrained embedding of the length is zero, which leaves dx/dt at the beginning of the step.

    Args:
        inputs: channels of noisy mel, mu, speaker and prompt together.
        outputs: mel bins.
        channels: width of the U-Net.
        heads: attention heads.
        head_dim: width of one head.
        n_blocks: Transformer blocks for each stage.
        mid_blocks: stages between the first and the last.
        few_steps: whether it is that of a few-step flow.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        channels: int,
        heads: int,
        head_dim: int,
        n_blocks: int,
        mid_blocks: int,
        few_steps: bool = False,
    ) -> None:
        super().__init__()
        time = 4 * channels
        self.time_mlp = TimeEmbedding(inputs, time)
        self.length_mlp = TimeEmbedding(inputs, time).begin_at_zero() if few_steps else None

        def stage(width: int) -> list[nn.Module]:
            blocks = nn.ModuleList(TransformerBlock(channels, heads, head_dim) for _ in range(n_blocks))
            return [CausalResnet(width, channels, time), blocks]

        def edge(width: int) -> nn.ModuleList:
            return nn.ModuleList([nn.ModuleList([*stage(width), CausalConv1d(channels, channels, 3)])])

        self.down_blocks = edge(inputs)
        self.mid_blocks = nn.ModuleList(nn.ModuleList(stage(channels)) for _ in range(mid_blocks))
        self.up_blocks = edge(2 * channels)
        self.final_block = CausalBlock(channels, channels)
        self.final_proj = WindowConv1d(channels, outputs, 1)

    def forward(
        self,
        x: Tensor,
        valid: Tensor | None,
        mu: Tensor,
        t: Tensor,
        spks: Tensor,
        cond: Tensor,
        chunk: int = 0,
        cache: LayerCache | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Estimate the vector field.

        Args:
            x: (B, mel, T) mel at time t.
            valid: (B, T) bool of unpadded frames, or None when nothing is padded.
            mu: (B, mel, T) encoder output.
            t: (B,) flow times in [0, 1]; (B, 2) times and lengths of the steps of a few-step flow.
            spks: (B, mel) projected speaker embedding.
            cond: (B, mel, T) prompt mel, zero after the prompt.
            chunk: chunk length in frames; 0 attends everywhere.
            cache: of a stream, at the slot of this Euler step; needs `valid` None and `offset` a multiple of `chunk`.
            offset: frames of the stream before these.

        Returns:
            (B, mel, T), zero at padding.
        """
        frames = x.shape[2]
        time = F.mish(embed_time(t, self.time_mlp, self.length_mlp))
        mask = None if valid is None else valid[:, None]
        if cache is None:
            visible = additive(attention_mask(frames, valid, chunk, x.device), x.dtype)
        else:
            visible = cache.score_mask(frames, chunk, offset, x)

        def run(stage: nn.ModuleList, x: Tensor) -> Tensor:
            x = stage[0](x, mask, time, cache).transpose(1, 2)
            for block in stage[1]:
                x = block(x, visible, cache)
            return x.transpose(1, 2)

        down, up = self.down_blocks[0], self.up_blocks[0]
        x = run(down, torch.cat([x, mu, spks[:, :, None].expand(-1, -1, frames), cond], dim=1))
        skip = x
        x = down[2](hide(x, mask), cache)
        for stage in self.mid_blocks:
            x = run(stage, x)
        x = run(up, torch.cat([x, skip], dim=1))
        x = self.final_block(up[2](hide(x, mask), cache), mask, cache)
        return hide(self.final_proj(hide(x, mask)), mask)
