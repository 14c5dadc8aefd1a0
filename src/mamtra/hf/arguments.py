"""Arguments that transformers and its trainers pass to a model: their names over versions, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from mamtra.errors import MamTraError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHE_NAME = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"
"""The name of the cache in this version of transformers: ``cache`` since 5.24."""
_LOSS = ("num_items_in_batch", "shift_labels", "ignore_index")
_TAKEN = (*_LOSS, "return_dict", "cache_position")
_PACKED = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
"""Repeat what the position ids say, for kernels that need it in another form."""


def given_cache(kwargs: dict[str, Any]) -> Cache | None:
    """Take the cache out of the arguments, under either name.

    Raises:
        MamTraError: there are two.
    """
    found = [each for each in (kwargs.pop("cache", None), kwargs.pop("past_key_values", None)) if each is not None]
    if len(found) > 1:
        raise MamTraError("cache and past_key_values are the same argument; give one of them.")
    return found[0] if found else None


def check_arguments(model: PreTrainedModel, kwargs: dict[str, Any], position_ids: Tensor | None) -> dict[str, Any]:
    """Refuse what a pass cannot do; a keyword that is swallowed would give silently wrong results.

    Args:
        model: for its configuration and modules.
        kwargs: what `forward` was given beside its own parameters.
        position_ids: of the pass.

    Returns:
        The arguments of the loss.

    Raises:
        MamTraError: something is asked for that is not supported.
    """
    config = model.config
    if kwargs.pop("output_attentions", None) or getattr(config, "output_attentions", False):
        raise MamTraError(
            "This model returns no attention weights: Mamba layers have none; leave out output_attentions."
        )
    if config._attn_implementation not in (None, "sdpa"):
        raise MamTraError(f"attn_implementation {config._attn_implementation!r} is not supported; use 'sdpa'.")
    known = _TAKEN if position_ids is None else _TAKEN + _PACKED
    unknown = [name for name, value in kwargs.items() if name not in known and value is not None and value is not False]
    if unknown:
        raise MamTraError(f"{unknown[0]} is not supported by this model; leave it out.")
    for layer in model.model.layers:
        if hasattr(getattr(getattr(layer, "mamba", None), "conv1d", None), "base_layer"):
            raise MamTraError("An adapter on conv1d would have no effect; leave conv1d out of its target modules.")
    return {name: kwargs[name] for name in _LOSS if kwargs.get(name) is not None}
