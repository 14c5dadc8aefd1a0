"""Causal grouped-query attention of Qwen2 and Llama: biases on q, k, v or none, rotary positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamtra.models.config import BackboneConfig
from mamtra.models.positions import Positions
from mamtra.models.state import AttentionState
from mamtra.ops.linear import joint_linear
from mamtra.ops.rope import apply_rope, rotate_joint


class Attention(nn.Module):
    """Token mixer of kind ``"full_attention"``; parameters ``{q,k,v,o}_proj`` as in Qwen2.

    Attributes:
        use_triton: train with the rotary embedding as a Triton kernel, see `mamtra.ops.rope.rotate_joint`.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.use_triton = False
        self.head_dim = config.head_dim
        self.groups = config.num_key_value_heads
        self.repeats = config.num_attention_heads // config.num_key_value_heads
        self.q_proj = nn.Linear(config.hidden_size, config.query_size, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.key_value_size, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.key_value_size, bias=config.attention_bias)
        self.o_proj = nn.Linear(config.query_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, positions: Positions, state: AttentionState | None = None) -> Tensor:
        """Mix (B, L, hidden_size) along L; keys and values are written to ``state`` where there is one."""
        q, k, v = self._project(hidden, positions, joint=state is None and hidden.device.type == "cuda")
        if state is not None:
            k, v = state.append(k, v, positions)
        shared = state is None and _shares_keys(q, positions.mask)
        if not shared:
            k, v = self._repeat(k), self._repeat(v)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=positions.mask, is_causal=positions.mask is None, enable_gqa=shared
        )
        return self.o_proj(y.transpose(1, 2).flatten(2))

    def weights(self, hidden: Tensor, positions: Positions) -> Tensor:
        """Attention probabilities of whole sequences: (B, L, hidden_size) to (B, heads, L, L) float32."""
        q, k, _ = self._project(hidden, positions, joint=False)
        scores = (q @ self._repeat(k).transpose(-1, -2)).float() / math.sqrt(self.head_dim)
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        return scores.masked_fill(later, float("-inf")).softmax(-1)

    def _project(self, hidden: Tensor, positions: Positions, *, joint: bool) -> tuple[Tensor, Tensor, Tensor]:
        """RoPE-rotated queries and keys, and values, each (B, heads, L, head_dim)."""
        maps = self.q_proj, self.k_proj, self.v_proj
        if not joint or any(type(m) is not nn.Linear for m in maps):  # an adapter (LoRA) in its place computes more
            q, k, v = (self._heads(m(hidden)) for m in maps)
        else:
            heads = self.groups * self.repeats, self.groups
            joint_qkv = joint_linear(hidden, maps)
            return rotate_joint(joint_qkv, positions.cos, positions.sin, *heads, use_triton=self.use_triton)
        return apply_rope(q, positions.cos, positions.sin), apply_rope(k, positions.cos, positions.sin), v

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _repeat(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2).expand(-1, -1, self.repeats, -1, -1).flatten(1, 2)


def _shares_keys(q: Tensor, mask: Tensor | None) -> bool:
    """Whether the fused attention kernel takes grouped keys and values; elsewhere they are repeated for every head."""
    return q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16) and mask is None
