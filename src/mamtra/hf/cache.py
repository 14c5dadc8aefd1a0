"""The package's layers over transformers' cache: attention appends to it, Mamba's memory lives in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache

from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig
from mamtra.models.positions import Positions
from mamtra.models.state import MambaState
from mamtra.ops.rope import rope_table


class RecurrentCache(DynamicCache):
    """Cache of a model without attention: it has no keys to count, but `generate` asks for their number.

    Attributes:
        seen: inputs so far, padding included.
    """

    seen = 0
    is_compileable = False  # masks would be made beforehand, in another form

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """See ``seen``."""
        return self.seen

    def reset(self) -> None:
        """Forget everything."""
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
        like: (B, L, hidden_size), whose batch, device and type the memory of Mamba layers has.

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
        states.append(CachedAttention(cache, i) if kind == "full_attention" else _memory(cache, i, config, like))
    return states


def _memory(cache: Cache, index: int, config: BackboneConfig, like: Tensor) -> MambaState:
    layer = cache.layers[index]
    if not hasattr(layer, "recurrent_states"):
        raise MamTraError(
            f"Layer {index} of the cache has no memory for Mamba; make it with DynamicCache(config=model.config)."
        )
    if not layer.is_recurrent_states_initialized[0]:
        batch, taps = like.shape[0], config.mamba_conv_kernel - 1
        conv = like.new_zeros(batch, config.mamba_conv_size, taps)
        size = (batch, config.num_attention_heads, config.head_dim, config.head_dim)
        layer.lazy_initialization(conv_states=conv, recurrent_states=torch.zeros(size, device=like.device))
    layer.has_previous_state[0] = True
    # views: the mixer writes in place; the cache keeps the taps last, the mixer before the channels
    return MambaState(layer.conv_states[0].transpose(1, 2), layer.recurrent_states[0])


def cached_length(cache: Cache | None, config: BackboneConfig) -> int:
    """Positions in the cache, padding included. A model without attention needs none of them: 0."""
    if cache is None or "full_attention" not in config.layer_types:
        return 0
    return cache.get_seq_length(config.layer_types.index("full_attention"))


def positions_of(
    config: BackboneConfig, length: int, past: int, attention_mask: Tensor | None, device: torch.device
) -> Positions:
    """Where the inputs of a pass lie.

    Args:
        config: sizes of the model.
        length: inputs L.
        past: positions in the cache.
        attention_mask: (B, past + L), 0 in the padding before left-padded rows; None for no padding. For a model without
            attention the last L columns count.
        device: of the inputs.

    Raises:
        MamTraError: a mask of another shape, or padding behind the first input of a row.
    """
    end = past + length
    padded = attention_mask is not None and not bool(attention_mask.all())
    if not padded:
        cos, sin = rope_table(end, config.rope_frequencies(device))
        causal = torch.ones(length, end, dtype=torch.bool, device=device).tril(past)[None, None] if past else None
        return Positions(cos[past:], sin[past:], past, mask=causal)
    if attention_mask.dim() != 2 or attention_mask.shape[1] < end:
        raise MamTraError(f"The attention mask has the shape {tuple(attention_mask.shape)}, not (batch, {end}).")
    real = attention_mask.bool()
    if (real[:, :-1] & ~real[:, 1:]).any():
        raise MamTraError(
            "Padding stands before the first input of a row (padding_side='left'), not behind or between."
        )
    valid, real = real[:, -length:], real[:, -end:]
    ids = (real.cumsum(1) - 1).clamp(min=0)[:, past:]
    cos, sin = rope_table(end, config.rope_frequencies(device))
    causal = torch.ones(length, end, dtype=torch.bool, device=device).tril(past)
    # padding looks at itself: a query that may look nowhere has no softmax
    itself = torch.eye(length, end, dtype=torch.bool, device=device) if not past else causal & ~causal.tril(past - 1)
    mask = (causal & real[:, None, :]) | itself
    return Positions(cos[ids].unsqueeze(1), sin[ids].unsqueeze(1), past, mask=mask.unsqueeze(1), valid=valid)
