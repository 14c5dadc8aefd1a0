"""Vector-field estimator of the flow: a diffusion Transformer (Peebles and Xie 2023) with causal convolutions for the positions.

Parameter names follow the CosyVoice 3 release, which inherits them from F5-TTS (Chen et al. 2024). The flow time scales, shifts
and gates every block (adaLN-zero). Rotary positions (Su et al. 2021) turn the first head only, in neighbouring pairs: the release
rotates the projections before it divides them into heads, and is trained so.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.acoustic.estimator import CausalConv1d, SelfAttention, embed_time, encode_time
from mamtra.acoustic.masks import additive, attention_mask, hide
from mamtra.acoustic.stream_cache import LayerCache

TIME_WIDTH = 256
POSITION_KERNEL, POSITION_GROUPS = 31, 16
EPSILON = 1e-6


def rotary_frequencies(width: int) -> Tensor:
    """Radians for each position of the `width / 2` pairs of a head, float32."""
    return 1.0 / (10000.0 ** (torch.arange(0, width, 2).float() / width))


def rotary_table(positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, width/2) float32 of the angles of pairs at `positions` (T,)."""
    angle = positions[:, None] * rotary_frequencies(width).to(positions.device)
    return angle.cos(), angle.sin()


def rotate_pairs(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate each pair (2i, 2i+1) of (B, T, width) by its angle in `table`, computed in float32."""
    cosine, sine = table
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LayerNorm of (B, T, D) without weights, scaled by 1 + `scale` and shifted, both (B, D)."""
    normed = F.layer_norm(x, x.shape[-1:], eps=EPSILON)
    return torch.addcmul(shift[:, None], normed, 1 + scale[:, None])


class FirstHeadRotaryAttention(SelfAttention):
    """Self-attention whose first head alone is told the positions.

    Args:
        width: model width.
        heads: number of heads.
        head_dim: even width of one head.
    """

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__(width, heads, head_dim, bias=True)

    def forward(
        self, x: Tensor, mask: Tensor | None, table: tuple[Tensor, Tensor], cache: LayerCache | None = None
    ) -> Tensor:
        """Map (B, T, width) to (B, T, width); `table` is that of `rotary_table`, the rest as in `SelfAttention`."""
        width = self.split[1]

        def rotated(y: Tensor) -> Tensor:
            return torch.cat([rotate_pairs(y[..., :width], table), y[..., width:]], dim=-1)

        return self.attend(rotated(self.to_q(x)), rotated(self.to_k(x)), self.to_v(x), mask, cache)


class TimeModulation(nn.Module):
    """Linear layer over the time embedding that gives scales, shifts and gates.

    Args:
        width: model width.
        parts: how many vectors of that width.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(width, parts * width)

    def forward(self, time: Tensor) -> tuple[Tensor, ...]:
        """Map (B, width), after its SiLU, to `parts` tensors (B, width)."""
        return self.linear(time).chunk(self.parts, dim=1)


class TanhFeedForward(nn.Module):
    """Linear, GELU by its tanh approximation, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ff = nn.ModuleDict({"0": nn.ModuleList([nn.Linear(width, hidden)]), "2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, width) to (B, T, width)."""
        return self.ff["2"](F.gelu(self.ff["0"][0](x), approximate="tanh"))


class DiTBlock(nn.Module):
    """Attention and feed-forward, each modulated and gated by the flow time."""

    def __init__(self, width: int, heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        self.attn_norm = TimeModulation(width, 6)
        self.attn = FirstHeadRotaryAttention(width, heads, head_dim)
        self.ff = TanhFeedForward(width, hidden)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        mask: Tensor | None,
        table: tuple[Tensor, Tensor],
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Map (B, T, width) to (B, T, width); `time` is (B, width) after its SiLU, the rest as in the attention."""
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.attn_norm(time)
        x = torch.addcmul(x, gate[:, None], self.attn(modulate(x, scale, shift), mask, table, cache))
        return torch.addcmul(x, ff_gate[:, None], self.ff(modulate(x, ff_scale, ff_shift)))


class PositionConvolution(nn.Module):
    """Two causal grouped convolutions with Mish, which tell a frame those before it.

    Args:
        width: model width, a multiple of 16.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.ModuleList([CausalConv1d(width, width, POSITION_KERNEL, POSITION_GROUPS)])
        self.conv2 = nn.ModuleList([CausalConv1d(width, width, POSITION_KERNEL, POSITION_GROUPS)])

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Map (B, T, width) to (B, T, width)."""
        y = x.transpose(1, 2)
        for (convolution,) in (self.conv1, self.conv2):
            y = F.mish(convolution(y, cache))
        return y.transpose(1, 2)


class InputEmbedding(nn.Module):
    """Noisy mel, prompt mel, mean and speaker of each frame to the model width.

    Args:
        inputs: channels of all four.
        width: model width.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, width)
        self.conv_pos_embed = PositionConvolution(width)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Map (B, T, inputs) to (B, T, width)."""
        x = self.proj(x)
        return x + self.conv_pos_embed(x, cache)


class TimeEmbedding(nn.Module):
    """Two linear layers with SiLU over a sinusoidal encoding of the flow time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time_mlp = nn.ModuleDict({"0": nn.Linear(TIME_WIDTH, width), "2": nn.Linear(width, width)})

    def begin_at_zero(self) -> TimeEmbedding:
        """Make every embedding zero, and return itself."""
        nn.init.zeros_(self.time_mlp["2"].weight)
        nn.init.zeros_(self.time_mlp["2"].bias)
        return self

    def forward(self, t: Tensor) -> Tensor:
        """Map times (B,) in [0, 1] to (B, width)."""
        first, second = self.time_mlp["0"], self.time_mlp["2"]
        return second(F.silu(first(encode_time(t, TIME_WIDTH).to(first.weight.dtype))))


class DiT(nn.Module):
    """dx/dt of the mel at flow time t, with the arguments of `mamtra.acoustic.estimator.Estimator`.

    Args:
        mels: mel bins.
        width: model width, a multiple of 16.
        depth: blocks.
        heads: attention heads.
        head_dim: even width of one head.
        ff_mult: inner width of the feed-forward over `width`.
        few_steps: whether it is that of a few-step flow.
    """

    def __init__(
        self, mels: int, width: int, depth: int, heads: int, head_dim: int, ff_mult: int, few_steps: bool = False
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.time_embed = TimeEmbedding(width)
        self.length_embed = TimeEmbedding(width).begin_at_zero() if few_steps else None
        self.input_embed = InputEmbedding(4 * mels, width)
        self.transformer_blocks = nn.ModuleList(DiTBlock(width, heads, head_dim, ff_mult * width) for _ in range(depth))
        self.norm_out = TimeModulation(width, 2)
        self.proj_out = nn.Linear(width, mels)

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
        """See `mamtra.acoustic.estimator.Estimator.forward`."""
        frames = x.shape[2]
        if cache is None:
            visible = additive(attention_mask(frames, valid, chunk, x.device), x.dtype)
            positions = torch.arange(frames, device=x.device, dtype=torch.float32)
        else:
            visible = cache.score_mask(frames, chunk, offset, x)
            positions = cache.positions(frames, offset, x.device)
        table = rotary_table(positions, self.head_dim)
        time = F.silu(embed_time(t, self.time_embed, self.length_embed))
        given = torch.cat([x, cond, mu, spks[:, :, None].expand(-1, -1, frames)], dim=1)
        hidden = self.input_embed(given.transpose(1, 2), cache)
        for block in self.transformer_blocks:
            hidden = block(hidden, time, visible, table, cache)
        hidden = modulate(hidden, *self.norm_out(time))
        return hide(self.proj_out(hidden).transpose(1, 2), None if valid is None else valid[:, None])
