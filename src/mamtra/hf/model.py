"""The language models as a `PreTrainedModel`: a thin face over the package's own modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from mamtra.checkpoints.native import read_tensors
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import SCALE
from mamtra.checkpoints.tensor_files import INDEX, TensorFiles
from mamtra.errors import MamTraError
from mamtra.hf.cache import RecurrentCache, cached_length, cached_states, new_cache, positions_of
from mamtra.hf.config import MamTraConfig
from mamtra.hf.speech_ids import split_ids
from mamtra.models.causal_lm import CausalLM
from mamtra.models.config import SpeechLMConfig
from mamtra.models.speech_lm import SpeechLM


class DerivedGenerationConfig(GenerationConfig):
    """Settings of a speech LM, which follow from its sizes and are not stored: in a model directory
    generation_config.json belongs to `mamtra say`."""

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Writes nothing."""


class MamTraForCausalLM(PreTrainedModel, GenerationMixin):
    """A hybrid speech LM or causal LM.

    Parameters have the names of the package's own files. Inputs of a speech LM are joint ids (`speech_input_ids`); its
    logits are over speech ids alone, which are the first of the joint ids, so that `generate` returns speech tokens.

    Args:
        config: of the model. Weights are drawn.
    """

    config_class = MamTraConfig
    _no_split_modules = ("DecoderLayer",)
    _supports_sdpa = True
    _is_stateful = True  # what Mamba has read cannot be taken back

    def __init__(self, config: MamTraConfig) -> None:
        super().__init__(config)
        sizes = config.sizes
        lm = SpeechLM(sizes) if isinstance(sizes, SpeechLMConfig) else CausalLM(sizes)
        for name, child in lm.named_children():
            self.add_module(name, child)
        self.__dict__["native"] = lm  # not a submodule: its parameters are this model's already
        self.post_init()
        self._settle_generation()

    @classmethod
    def from_pretrained(cls, directory: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; a local directory with int8 weights is dequantised.

        Raises:
            MamTraError: the weights are int8 and somewhere else than in a local directory, or damaged.
        """
        local = Path(directory or "") / PARTS["lm"].file
        there = any(local.with_name(local.name + suffix).is_file() for suffix in ("", INDEX))
        if there and any(name.endswith(SCALE) for name in TensorFiles(local).tensors):
            config = kwargs.pop("config", None) or MamTraConfig.from_pretrained(directory)
            dtype = kwargs.pop("dtype", None)
            dtype = dtype if isinstance(dtype, torch.dtype) else torch.float32
            directory, weights = None, read_tensors(local, dtype)
            kwargs |= {"config": config, "dtype": dtype, "state_dict": weights}
        found = super().from_pretrained(directory, *args, **kwargs)
        (found[0] if isinstance(found, tuple) else found)._settle_generation()
        return found

    def _settle_generation(self) -> None:
        """Generation ends at the ids that the sizes name."""
        stops = {"eos_token_id": self.config.eos_token_id, "pad_token_id": self.config.pad_token_id}
        if self.config.section == "lm":
            self.generation_config = DerivedGenerationConfig(**stops)
        elif hasattr(self.generation_config, "win_size"):  # a file of this package, about sampling speech
            self.generation_config = GenerationConfig(**stops)
        elif self.generation_config.eos_token_id is None:
            self.generation_config.update(**stops)

    def generate(self, inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, for models without any attention too."""
        if kwargs.get("past_key_values") is None and kwargs.get("use_cache") is not False:
            kwargs["past_key_values"] = new_cache(self.config)
        return super().generate(inputs, *args, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the modules draw their weights when they are made."""

    def get_input_embeddings(self) -> nn.Module:
        """The table of text tokens."""
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module | None:
        """The head, where it has weights of its own."""
        return getattr(self, "llm_decoder", None) or getattr(self, "lm_head", None)

    def embed(self, input_ids: Tensor) -> Tensor:
        """(B, L) int64 to (B, L, hidden_size)."""
        sizes = self.native.config
        return (
            self.native.embed(*split_ids(sizes, input_ids))
            if self.config.section == "lm"
            else self.native.embed(input_ids)
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """One pass.

        Args:
            input_ids: (B, L) int64.
            attention_mask: (B, positions in the cache + L), 0 in the padding before left-padded rows. Positions follow
                from it; ``position_ids`` are not read.
            past_key_values: ``DynamicCache(config=model.config)``; written in place.
            inputs_embeds: (B, L, hidden_size), instead of ids.
            labels: (B, L) int64, the ids themselves, -100 where nothing is to be learnt.
            use_cache: make a cache where there is none.
            output_hidden_states: return embeddings and the output of every layer, the last one after the final norm.
            logits_to_keep: 0 for all positions, n for the last n, or their indices.
            kwargs: what transformers passes on and this model has no use for.

        Raises:
            MamTraError: both or neither of ids and embeddings, a mask or cache that does not fit.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise MamTraError("Give either input_ids or inputs_embeds.")
        sizes = self.native.config
        hidden = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache is None:
            use_cache = not self.training
        if past_key_values is None and use_cache:
            past_key_values = new_cache(self.config)
        states = [None] * sizes.num_hidden_layers
        if past_key_values is not None:
            states = cached_states(past_key_values, sizes, hidden)
        past = cached_length(past_key_values, sizes)
        positions = positions_of(sizes, hidden.shape[1], past, attention_mask, hidden.device)
        collected = [hidden]
        for layer, state in zip(self.model.layers, states, strict=True):
            hidden = layer(hidden, positions, state)
            collected.append(hidden)
        hidden = collected[-1] = self.model.norm(hidden)
        if isinstance(past_key_values, RecurrentCache):
            past_key_values.seen += hidden.shape[1]
        kept = slice(-logits_to_keep or None, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.native.logits(hidden[:, kept])
        loss = None
        if labels is not None:
            targets = labels[:, 1:].flatten().to(logits.device)
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets, ignore_index=-100)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=past_key_values,
            hidden_states=tuple(collected) if output_hidden_states else None,
        )
