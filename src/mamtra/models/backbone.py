"""Pre-norm residual layers of Qwen2 and Llama with a token mixer of either kind."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mamtra.models.attention import Attention, Span
from mamtra.models.config import BackboneConfig
from mamtra.models.mamba import MambaMixer
from mamtra.models.state import AttentionState, DecodeState, MambaState
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
        kernels: under autocast, compute the gated half as one Triton product, for which there must be a graphics card.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.kernels = False
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., hidden_size) to the same shape."""
        if self.kernels and torch.is_autocast_enabled(x.device.type):
            # there is no Triton without a graphics card
            from mamtra.ops.gated_linear_triton import gated_linear_triton

            x = x.to(torch.get_autocast_dtype(x.device.type))
            return self.down_proj(gated_linear_triton(x, self.gate_proj.weight, self.up_proj.weight))
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


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
        span: Span,
        state: AttentionState | MambaState | None = None,
        added: Tensor | None = None,
        *,
        apart: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, L, hidden_size) to the same shape.

        Args:
            hidden: the sum of all layers before, but for ``added``.
            span: where the positions lie.
            state: of this layer, moved on.
            added: what the layer before adds.
            apart: give back the sum so far and what this layer adds to it, for the next one: a compiled layer adds and
                normalises in one pass.
        """
        if added is not None:
            hidden = hidden + added
        hidden = hidden + self.mixer(self.input_layernorm(hidden), span, state)
        more = self.mlp(self.post_attention_layernorm(hidden))
        return (hidden, more) if apart else hidden + more


class Backbone(nn.Module):
    """Text embedding, layers and final norm; parameter names as in Qwen2.

    Attributes:
        checkpointing: in training, layers are computed again in the backward pass and only their inputs kept.
        apart: without a state, layers leave it to the next one to add what they give, see `DecoderLayer.forward`.
    """

    def __init__(self, config: BackboneConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = self.apart = False
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
            state: what came before; moved on by this call. Without one the sequences are seen whole, as in training.
            lengths: (B,) int64, valid inputs of each right-padded row; only the state needs it, hidden states of valid
                positions never see the padding behind them.
            collect: gets the output of every layer, before the final norm, appended.

        Returns:
            Hidden states after the final norm, (B, L, hidden_size).

        Raises:
            MamTraError: the state has no room for L more positions.
        """
        length = inputs_embeds.shape[1]
        if state is None:
            span = Span.without_state(length, self.config, inputs_embeds.device)
        else:
            state.reserve(length)
            span = Span.of(state, length, lengths)
        hidden = inputs_embeds
        checkpointing = self.checkpointing and state is None and torch.is_grad_enabled()
        apart = self.apart and state is None and collect is None and not checkpointing
        added = None
        for i, layer in enumerate(self.layers):
            if checkpointing:  # nothing in a layer is drawn at random
                hidden = checkpoint(layer, hidden, span, use_reentrant=False, preserve_rng_state=False)
            elif apart:
                hidden, added = layer(hidden, span, None, added, apart=True)
            else:
                hidden = layer(hidden, span, None if state is None else state.layers[i])
            if collect is not None:
                collect.append(hidden)
        if state is not None:
            if lengths is not None or state.positions is not None:
                before = state.length if state.positions is None else state.positions
                state.positions = before + (length if lengths is None else lengths)
            state.length += length
        return self.norm(hidden if added is None else hidden + added)
