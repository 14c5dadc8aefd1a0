"""The language models as a `PreTrainedModel`: a thin face over the package's own modules."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from mamtra.checkpoints.model_files import base_of
from mamtra.checkpoints.native import read_tensors
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import SCALE
from mamtra.checkpoints.tensor_files import INDEX, TensorFiles
from mamtra.errors import MamTraError
from mamtra.hf.arguments import CACHE_NAME, check_arguments, given_cache
from mamtra.hf.cache import RecurrentCache, cached_length, cached_states, new_cache, positions_of
from mamtra.hf.config import MamTraConfig
from mamtra.hf.packing import find_segments, jumps
from mamtra.hf.speech_ids import speech_kinds
from mamtra.models.causal_lm import CausalLM
from mamtra.models.config import SpeechLMConfig
from mamtra.models.speech_lm import SpeechLM


@dataclass
class Output(CausalLMOutputWithPast):
    """As in transformers.

    Attributes:
        last_hidden_state: (B, L, hidden_size) after the final norm, for trainers that apply the head themselves (TRL).
    """

    last_hidden_state: Tensor | None = None


class DerivedGenerationConfig(GenerationConfig):
    """Settings of a speech LM, which follow from its sizes and are not stored: in a model directory
    generation_config.json belongs to `mamtra say`."""

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Writes nothing."""


class MamTraForCausalLM(PreTrainedModel, GenerationMixin):
    """A hybrid speech LM or causal LM.

    Parameters have the names of the package's own files. Inputs of a speech LM are joint ids (`speech_input_ids`); its
    logits are over speech ids alone, which are the first of the joint ids, so that `generate` returns speech tokens.
    Tables and head are called as modules, so that adapters and replaced ones count.

    Args:
        config: of the model. Weights are drawn.
    """

    config_class = MamTraConfig
    _no_split_modules = ("DecoderLayer",)
    _supports_sdpa = True
    _is_stateful = True  # what Mamba has read cannot be taken back
    supports_gradient_checkpointing = True

    def __init__(self, config: MamTraConfig) -> None:
        super().__init__(config)
        sizes = config.sizes
        lm = SpeechLM(sizes) if isinstance(sizes, SpeechLMConfig) else CausalLM(sizes)
        for name, child in lm.named_children():
            self.add_module(name, child)
        self.gradient_checkpointing = False
        self.post_init()
        self._settle_generation()

    @classmethod
    def from_pretrained(cls, directory: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; a local directory with int8 weights is dequantised, and completed by its base.

        Raises:
            MamTraError: the weights are int8 and somewhere else than in a local directory, damaged, or incomplete.
        """
        local = Path(directory or "") / PARTS["lm"].file
        there = any(local.with_name(local.name + suffix).is_file() for suffix in ("", INDEX))
        base = base_of(local.parent) if there else None
        place, files = directory, TensorFiles(local, base and base / local.name) if there else None
        if files is not None and (files.left or any(name.endswith(SCALE) for name in files.tensors)):
            config = kwargs.pop("config", None) or MamTraConfig.from_pretrained(directory)
            dtype = kwargs.pop("dtype", None)
            dtype = dtype if isinstance(dtype, torch.dtype) else torch.float32
            directory, weights = None, read_tensors(files, dtype)
            kwargs |= {"config": config, "dtype": dtype, "state_dict": weights}
        both = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(directory, *args, output_loading_info=True, **kwargs)
        if info["missing_keys"]:
            raise MamTraError(f"{place} lacks the weights {sorted(info['missing_keys'])[0]}; get the model again.")
        model._settle_generation()
        return (model, info) if both else model

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
        """As in transformers, for models without any attention too.

        Raises:
            MamTraError: another cache than a dynamic one.
        """
        cache = given_cache(kwargs)
        settings = kwargs.get("generation_config") or next(iter(args), None) or self.generation_config
        chosen = kwargs.pop("cache_implementation", None) or settings.cache_implementation
        if chosen not in (None, "dynamic"):
            raise MamTraError(f"cache_implementation {chosen!r} is not supported; leave it out, which is 'dynamic'.")
        if settings.cache_implementation is not None:  # transformers takes a cache or the name of one
            settings = copy.deepcopy(settings)
            settings.cache_implementation = None
            args, kwargs = args[1:], kwargs | {"generation_config": settings}
        if cache is None and kwargs.get("use_cache") is not False:
            cache = new_cache(self.config)
        return super().generate(inputs, *args, **kwargs, **({} if cache is None else {CACHE_NAME: cache}))

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the modules draw their weights when they are made."""

    def get_input_embeddings(self) -> nn.Module:
        """The table of text tokens."""
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the table of text tokens."""
        self.model.embed_tokens = value

    def get_output_embeddings(self) -> nn.Module | None:
        """The head, where it has weights of its own."""
        return self._modules.get("llm_decoder" if self.config.section == "lm" else "lm_head")

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the head.

        Raises:
            MamTraError: it is the table of the inputs.
        """
        if self.get_output_embeddings() is None:
            raise MamTraError("The head of this model is its table of inputs (tied); replace that one.")
        setattr(self, "llm_decoder" if self.config.section == "lm" else "lm_head", value)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """As in transformers; the configuration follows.

        Raises:
            MamTraError: the model is a speech LM.
        """
        if new_num_tokens is None and pad_to_multiple_of is None:
            return self.get_input_embeddings()
        if self.config.section == "lm":
            raise MamTraError(
                "A speech LM has tables for text and for speech; their sizes are fixed by its tokenizers."
            )
        before = self.config.vocab_size
        table = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        if not mean_resizing:
            with torch.no_grad():
                for module in filter(None, (table, self.get_output_embeddings())):
                    module.weight[before:].normal_(0, 0.02)
        self.config.causal_lm = self.config.causal_lm | {"vocab_size": self.config.vocab_size}
        return table

    def embed(self, input_ids: Tensor) -> Tensor:
        """(B, L) int64 to (B, L, hidden_size)."""
        text = self.get_input_embeddings()
        if self.config.section != "lm":
            return text(input_ids)
        is_text, is_speech, rows = speech_kinds(self.config.vocab_size, input_ids)
        marks = self.llm_embedding(rows.masked_fill(is_text | is_speech, 0))
        speech = self.speech_embedding(rows.masked_fill(~is_speech, 0))
        embedded = torch.where(is_text[..., None], text(rows.masked_fill(~is_text, 0)), speech)
        return torch.where((is_text | is_speech)[..., None], embedded, marks)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> Output | tuple:
        """One pass.

        Args:
            input_ids: (B, L) int64.
            attention_mask: (B, positions in the cache + L), 0 in padding; with a cache it stands before the inputs of a row.
            position_ids: (B or 1, L); where they do not go up by one another sequence begins (packed rows, without a
                cache). Positions themselves are counted from the start of each sequence.
            past_key_values: ``DynamicCache(config=model.config)``; written in place. ``cache`` is the same.
            inputs_embeds: (B, L, hidden_size), instead of ids.
            labels: (B, L) int64, the ids themselves, -100 where nothing is to be learnt.
            use_cache: make a cache where there is none; by default outside of training, where rows are single sequences.
            output_hidden_states: return embeddings and the output of every layer, the last one after the final norm.
            logits_to_keep: 0 for all positions, n for the last n, or their indices.
            kwargs: ``num_items_in_batch``, ``shift_labels``, ``ignore_index`` of the loss; ``return_dict``; others that ask
                for something this model does not do are refused.

        Raises:
            MamTraError: both or neither of ids and embeddings, a mask or cache that does not fit, or something that is asked
                for and not supported.
        """
        kwargs["past_key_values"] = past_key_values
        cache = given_cache(kwargs)
        loss_arguments = check_arguments(self, kwargs, position_ids)
        if (input_ids is None) == (inputs_embeds is None):
            raise MamTraError("Give either input_ids or inputs_embeds.")
        hidden = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        batch, length = hidden.shape[:2]
        segments = None
        if cache is None:
            segments = find_segments(attention_mask, position_ids, batch, length)
        elif position_ids is not None and length > 1:
            _refuse_packed(position_ids, attention_mask, length)
        if segments is not None and use_cache:
            raise MamTraError("Packed rows and padding after a sequence cannot be cached; pass use_cache=False.")
        if use_cache is None:
            use_cache = not self.training and segments is None and getattr(self.config, "use_cache", True)
        if cache is None and use_cache:
            cache = new_cache(self.config)
        if segments is not None:
            hidden, attention_mask = segments.split(hidden), None
        collected = self._layers(hidden, attention_mask, cache)
        if segments is not None:
            collected = [segments.join(each, length, batch) for each in collected]
        if isinstance(cache, RecurrentCache):
            cache.seen += length
        kept = slice(-logits_to_keep or None, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self._logits(collected[-1][:, kept])
        loss = None
        if labels is not None or loss_arguments.get("shift_labels") is not None:
            loss = self._loss(logits, labels, loss_arguments)
        asked = output_hidden_states or (output_hidden_states is None and self.config.output_hidden_states)
        found = Output(
            loss=loss,
            logits=logits,
            hidden_states=tuple(collected) if asked else None,
            last_hidden_state=collected[-1],
            **{CACHE_NAME: cache},
        )
        return found.to_tuple() if kwargs.get("return_dict") is False else found

    def _layers(self, hidden: Tensor, attention_mask: Tensor | None, cache: Cache | None) -> list[Tensor]:
        """Embeddings and the output of every layer, the last one after the final norm."""
        sizes = self.config.sizes
        states = [None] * sizes.num_hidden_layers if cache is None else cached_states(cache, sizes, hidden)
        past = cached_length(cache, sizes)
        positions = positions_of(sizes, hidden.shape[1], past, attention_mask, hidden.device)
        checkpointing = self.gradient_checkpointing and self.training and cache is None
        collected = [hidden]
        for layer, state in zip(self.model.layers, states, strict=True):
            if checkpointing:
                hidden = self._gradient_checkpointing_func(layer.__call__, hidden, positions, None)
            else:
                hidden = layer(hidden, positions, state)
            collected.append(hidden)
        collected[-1] = self.model.norm(hidden)
        return collected

    def _logits(self, hidden: Tensor) -> Tensor:
        head = self.get_output_embeddings()
        return F.linear(hidden, self.get_input_embeddings().weight) if head is None else head(hidden)

    def _loss(self, logits: Tensor, labels: Tensor | None, arguments: dict[str, Any]) -> Tensor:
        """Mean over the labels, or their sum divided by ``num_items_in_batch``."""
        shown = labels if labels is not None else arguments["shift_labels"]
        if int(shown.max()) >= logits.shape[-1]:
            raise MamTraError(
                f"labels go up to {int(shown.max())}, logits to {logits.shape[-1] - 1}; put -100 where nothing is to be "
                "learnt, such as the text before speech tokens."
            )
        return self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **arguments)


def _refuse_packed(position_ids: Tensor, mask: Tensor | None, length: int) -> None:
    real = torch.ones_like(position_ids, dtype=torch.bool) if mask is None else mask[:, -length:].bool()
    inside = real & torch.nn.functional.pad(real[:, :-1], (1, 0))  # the first input after padding may jump
    if (jumps(position_ids) & inside).any():
        raise MamTraError("position_ids with several sequences in a row cannot be combined with a cache.")
