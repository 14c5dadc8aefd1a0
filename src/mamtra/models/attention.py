"""Causal grouped-query attention of Qwen2 and Llama: biases on q, k, v or nowhere, rotary positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.models.config import BackboneConfig
from mamtra.models.state import AttentionState, DecodeState
from mamtra.ops.linear import joint_linear
from mamtra.ops.rope import apply_rope, rope_table


@dataclass(frozen=True)
class Span:
    """Where the positions of one forward pass lie; made once and read by all layers.

    Attributes:
        cos: broadcastable to (B, heads, L, head_dim), cosine of the positions.
        sin: the same, signed sine.
        start: positions in the state before this pass.
        lengths: (B,) valid inputs of right-padded rows, or None.
        positions: (B, L) int64 where rows differ, else None.
        mask: (B or 1, 1, L, start + L) bool, True where a query may look; None for plain causal attention without a
            past.
        valid: (B, L) bool, False in the padding before left-padded rows; None where there is none. Only the Mamba mixers
            read it, the mask tells attention.
    """

    cos: Tensor
    sin: Tensor
    start: int = 0
    lengths: Tensor | None = None
    positions: Tensor | None = None
    mask: Tensor | None = None
    valid: Tensor | None = None

    @classmethod
    def without_state(cls, length: int, config: BackboneConfig, device: torch.device) -> Span:
        """Positions 0 .. length - 1 of sequences that are seen whole."""
        return cls(*rope_table(length, config.rope_frequencies(device)))

    @classmethod
    def of(cls, state: DecodeState, length: int, lengths: Tensor | None) -> Span:
        """The next ``length`` positions after a state."""
        start, end = state.length, state.length + length
        if state.positions is None:
            cos, sin = state.cos[start:end], state.sin[start:end]
            mask = None
            if start:
                mask = torch.ones(length, end, dtype=torch.bool, device=cos.device).tril(start)[None, None]
            return cls(cos, sin, start, lengths, None, mask)
        positions = state.positions[:, None] + torch.arange(length, device=state.cos.device)
        mask = torch.arange(end, device=state.cos.device) <= positions[:, None, :, None]
        return cls(
            state.cos[positions].unsqueeze(1), state.sin[positions].unsqueeze(1), start, lengths, positions, mask
        )


class Attention(nn.Module):
    """Token mixer of kind ``"full_attention"``; parameters ``{q,k,v,o}_proj`` as in Qwen2.

    Attributes:
        kernels: learn with rotary positions as a Triton kernel, for which there must be a graphics card.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.kernels = False
        self.head_dim = config.head_dim
        self.groups = config.num_key_value_heads
        self.repeats = config.num_attention_heads // config.num_key_value_heads
        self.q_proj = nn.Linear(config.hidden_size, config.query_size, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.key_value_size, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.key_value_size, bias=config.attention_bias)
        self.o_proj = nn.Linear(config.query_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, span: Span, state: AttentionState | None = None) -> Tensor:
        """Mix (B, L, hidden_size) along L; keys and values are written to ``state`` where there is one."""
        q, k, v = self._project(hidden, span, joint=state is None and hidden.device.type == "cuda")
        if state is not None:
            k, v = state.append(k, v, span)
        shared = state is None and _shares_keys(q, span.mask)
        if not shared:
            k, v = self._repeat(k), self._repeat(v)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=span.mask, is_causal=span.mask is None, enable_gqa=shared)
        return self.o_proj(y.transpose(1, 2).flatten(2))

    def _project(self, hidden: Tensor, span: Span, *, joint: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys at their positions, and values, (B, heads, L, head_dim)."""
        maps = self.q_proj, self.k_proj, self.v_proj
        if not joint or any(type(m) is not nn.Linear for m in maps):  # adapters in place of a map do more than multiply
            q, k, v = (self._heads(m(hidden)) for m in maps)
        else:
            together = joint_linear(hidden, maps)
            if self.kernels and torch.is_grad_enabled():
                # there is no Triton without a graphics card
                from mamtra.ops.rope_triton import rope_triton

                heads = self.groups * self.repeats, self.groups
                q, k, v = rope_triton(together, span.cos, span.sin, *heads)
                return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
            q, k, v = (self._heads(part) for part in together.split([m.out_features for m in maps], -1))
        return apply_rope(q, span.cos, span.sin), apply_rope(k, span.cos, span.sin), v

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _repeat(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2).expand(-1, -1, self.repeats, -1, -1).flatten(1, 2)


def _shares_keys(q: Tensor, mask: Tensor | None) -> bool:
    """Whether attention's kernel reads the keys of a group for all its heads; others need them repeated."""
    return q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16) and mask is None
