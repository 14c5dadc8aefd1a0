"""MamTra's layers on transformers' cache: attention appends to it, the states of Mamba layers are views of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig
from mamtra.models.positions import Positions
from mamtra.models.state import MambaState
from mamtra.ops.rope import rope_table


class RecurrentCache(DynamicCache):
    """Cache of a model without attention layers, which counts positions for `generate`.

    Attributes:
        seen: positions so far, padding included.
    """

    seen = 0
    is_compileable = False  # transformers would build masks of another form beforehand

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions so far, padding included."""
        return self.seen

    def reset(self) -> None:
        """Empty the cache."""
        super().reset()
        self.seen = 0


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache for a model of this configuration, which has ``layer_types``."""
    return (DynamicCache if "full_attention" in config.layer_types else RecurrentCache)(config=config)


@dataclass
class CachedAttention:
    """Stands in for `AttentionState`: keys and values are those of a layer of the cache."""

    cache: Cache
    layer: int

    def append(self, k: Tensor, v: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
        """See `AttentionState.append`."""
        return self.cache.update(k, v, self.layer)


def cached_states(cache: Cache, config: BackboneConfig, like: Tensor) -> list[CachedAttention | MambaState]:
    """A state for every layer that reads and writes the cache itself.

    Args:
        cache: ``DynamicCache(config=...)`` of the model's configuration.
        config: sizes of the model.
        like: (B, L, hidden_size), whose batch, device and dtype the states of Mamba layers take.

    Raises:
        MamTraError: the cache has other layers than the model.
    """
    if len(cache.layers) != config.num_hidden_layers:
        raise MamTraError(
            f"The cache has {len(cache.layers)} layers for {config.num_hidden_layers}; "
            "make it with DynamicCache(config=model.config)."
        )
    states: list[CachedAttention | MambaState] = []
    for i, kind in enumerate(config.layer_types):
        if kind == "full_attention" and type(cache.layers[i]).update is not DynamicLayer.update:
            raise MamTraError(
                f"A cache of {type(cache.layers[i]).__name__} is not supported; make it with DynamicCache(config=model.config)."
            )
        states.append(CachedAttention(cache, i) if kind == "full_attention" else _memory(cache, i, config, like))
    return states


def _memory(cache: Cache, index: int, config: BackboneConfig, like: Tensor) -> MambaState:
    layer = cache.layers[index]
    if not hasattr(layer, "recurrent_states"):
        raise MamTraError(
            f"Layer {index} of the cache has no state for Mamba; make it with DynamicCache(config=model.config)."
        )
    if not layer.is_recurrent_states_initialized[0]:
        batch, taps = like.shape[0], config.mamba_conv_kernel - 1
        conv = like.new_zeros(batch, config.mamba_conv_size, taps)
        size = (batch, config.num_attention_heads, config.head_dim, config.head_dim)
        layer.lazy_initialization(conv_states=conv, recurrent_states=torch.zeros(size, device=like.device))
    layer.has_previous_state[0] = True
    # views, since the mixer writes in place; the cache has the taps last, the mixer the channels
    return MambaState(layer.conv_states[0].transpose(1, 2), layer.recurrent_states[0])


def cached_length(cache: Cache | None, config: BackboneConfig) -> int:
    """Positions in the cache, padding included. 0 for a model without attention, which does not need it."""
    if cache is None or "full_attention" not in config.layer_types:
        return 0
    return cache.get_seq_length(config.layer_types.index("full_attention"))


def positions_of(
    config: BackboneConfig, length: int, offset: int, attention_mask: Tensor | None, device: torch.device
) -> Positions:
    """Positions of the inputs of a pass.

    Args:
        config: sizes of the model.
        length: inputs L.
        offset: positions in the cache.
        attention_mask: (B, offset + L), 0 in the padding before left-padded rows; None for no padding. For a model without
            attention the last L columns count.
        device: of the inputs.

    Raises:
        MamTraError: a mask of another shape, or padding after the first input of a row.
    """
    end = offset + length
    padded = attention_mask is not None and not bool(attention_mask.all())
    if not padded:
        cos, sin = rope_table(end, config.rope_frequencies(device))
        causal = torch.ones(length, end, dtype=torch.bool, device=device).tril(offset)[None, None] if offset else None
        return Positions(cos[offset:], sin[offset:], offset, mask=causal)
    if attention_mask.dim() != 2 or attention_mask.shape[1] < end:
        raise MamTraError(f"The attention mask has the shape {tuple(attention_mask.shape)}, not (batch, {end}).")
    real = attention_mask.bool()
    if (real[:, :-1] & ~real[:, 1:]).any():
        raise MamTraError("Padding stands before the first input of a row (padding_side='left'), not after or between.")
    valid, real = real[:, -length:], real[:, -end:]
    ids = (real.cumsum(1) - 1).clamp(min=0)[:, offset:]
    cos, sin = rope_table(end, config.rope_frequencies(device))
    causal = torch.ones(length, end, dtype=torch.bool, device=device).tril(offset)
    # padding attends to itself: the softmax of a query that attends to nothing is undefined
    itself = (
        torch.eye(length, end, dtype=torch.bool, device=device) if not offset else causal & ~causal.tril(offset - 1)
    )
    mask = (causal & real[:, None, :]) | itself
    return Positions(cos[ids].unsqueeze(1), sin[ids].unsqueeze(1), offset, mask=mask.unsqueeze(1), valid=valid)
