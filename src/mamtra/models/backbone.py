"""Pre-norm residual layers of Qwen2 and Llama with a token mixer of either kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mamtra.models.attention import Attention
from mamtra.models.config import BackboneConfig
from mamtra.models.mamba import MambaMixer
from mamtra.models.positions import Positions
from mamtra.models.state import AttentionState, DecodeState, MambaState
from mamtra.ops.gated_linear import gated_linear
from mamtra.ops.norms import rms_norm


class RMSNorm(nn.Module):
    """`mamtra.ops.norms.rms_norm` with its weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., size)."""
        return rms_norm(x, self.weight, self.eps)


class MLP(nn.Module):
    """Gated feed-forward: ``down(silu(gate(x)) * up(x))``.

    Attributes:
        use_triton: see `mamtra.ops.gated_linear.gated_linear`.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.use_triton = False
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., hidden_size) to the same shape."""
        return self.down_proj(gated_linear(x, self.gate_proj, self.up_proj, use_triton=self.use_triton))


class DecoderLayer(nn.Module):
    """One layer. Its mixer is called ``self_attn`` or ``mamba``, which names its kind in checkpoints."""

    def __init__(self, config: BackboneConfig, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if kind == "full_attention":
            self.self_attn = Attention(config)
        else:
            self.mamba = MambaMixer(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    @property
    def mixer(self) -> Attention | MambaMixer:
        """The token mixer."""
        return self.self_attn if self.kind == "full_attention" else self.mamba

    def forward(
        self,
        hidden: Tensor,
        positions: Positions,
        state: AttentionState | MambaState | None = None,
        deferred: Tensor | None = None,
        *,
        defer: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, L, hidden_size) to the same shape.

        Args:
            hidden: residual stream (B, L, hidden_size), without ``deferred``.
            positions: of the pass.
            state: of this layer, updated in place.
            deferred: output of the previous layer's feed-forward, not yet added to ``hidden``.
            defer: return the residual stream and this layer's feed-forward output separately instead of their sum: a compiled
                layer adds and normalises in one pass.
        """
        if deferred is not None:
            hidden = hidden + deferred
        hidden = hidden + self.mixer(self.input_layernorm(hidden), positions, state)
        more = self.mlp(self.post_attention_layernorm(hidden))
        return (hidden, more) if defer else hidden + more


class Backbone(nn.Module):
    """Text embedding, layers and final norm; parameter names as in Qwen2.

    Attributes:
        checkpointing: activation checkpointing: the backward pass recomputes each layer from its input.
        defer_residual: without a state, each layer adds the feed-forward output of the previous one, see
            `DecoderLayer.forward`.
    """

    def __init__(self, config: BackboneConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = self.defer_residual = False
        self.embed_tokens = nn.Embedding(vocabulary, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, kind) for kind in config.layer_types)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        inputs_embeds: Tensor,
        state: DecodeState | None = None,
        lengths: Tensor | None = None,
        collect: list[Tensor] | None = None,
    ) -> Tensor:
        """Run all layers.

        Args:
            inputs_embeds: (B, L, hidden_size).
            state: cache of the previous positions, updated in place. None for whole sequences, as in training.
            lengths: (B,) int64, valid inputs of each right-padded row; only the state needs it, hidden states of valid
                positions do not depend on the padding after them.
            collect: list to which the output of every layer, before the final norm, is appended.

        Returns:
            Hidden states after the final norm, (B, L, hidden_size).

        Raises:
            MamTraError: L more positions exceed the capacity of the state.
        """
        length = inputs_embeds.shape[1]
        if state is None:
            positions = Positions.from_zero(length, self.config, inputs_embeds.device)
        else:
            state.reserve(length)
            positions = state.next_positions(length, lengths)
        hidden = inputs_embeds
        checkpointing = self.checkpointing and state is None and torch.is_grad_enabled()
        defer = self.defer_residual and state is None and collect is None and not checkpointing
        deferred = None
        for i, layer in enumerate(self.layers):
            if checkpointing:  # layers have no randomness
                hidden = checkpoint(layer, hidden, positions, use_reentrant=False, preserve_rng_state=False)
            elif defer:
                hidden, deferred = layer(hidden, positions, None, deferred, defer=True)
            else:
                hidden = layer(hidden, positions, None if state is None else state.layers[i])
            if collect is not None:
                collect.append(hidden)
        if state is not None:
            if lengths is not None or state.positions is not None:
                before = state.length if state.positions is None else state.positions
                state.positions = before + (length if lengths is None else lengths)
            state.length += length
        return self.norm(hidden if deferred is None else hidden + deferred)
