"""Sizes of the language models: what all backbones share, the speech LM, and any other causal LM."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from torch import Tensor

from mamtra.models.layout import MIX
from mamtra.models.plan import LayerPlan, LayerType
from mamtra.ops.rope import Llama3Scaling, rope_frequencies
from mamtra.runtime.strict_models import Size, refuse_renamed

MambaForm = Literal["mamba2", "discrete"]
MOST_LAYERS = 10_000
"""A width or vocabulary; the bound keeps damaged files from asking for impossible tensors."""


class BackboneConfig(BaseModel):
    """A Qwen2- or Llama-shaped decoder whose layers have attention or Mamba as their token mixer.

    Attributes:
        hidden_size: width of the residual stream.
        intermediate_size: width of the gated feed-forward.
        num_hidden_layers: layers.
        num_attention_heads: query heads; the Mamba mixer has as many heads.
        num_key_value_heads: key/value heads; the Mamba mixer shares x and B in the same groups.
        head_dim: size of a head and of the Mamba state.
        rope_theta: base of the rotary wavelengths.
        rope_scaling: of the rotary wavelengths, as in Llama 3.1 and later.
        rms_norm_eps: of the layer norms.
        attention_bias: the projections to q, k, v have biases (Qwen2) or not (Llama).
        layer_types: one kind per layer; all attention by default.
        mamba_form: of the mixer, see `mamtra.models.mamba.MambaMixer`.
        mamba_conv_kernel: taps of the mixer's causal convolution.
        mamba_chunk_size: inputs per chunk of the scan.
        mamba_norm_eps: of the mixer's gated norm.
        mamba_qkv_bias: the mixer's in_proj has a bias, which receives the attention's biases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)]
    num_attention_heads: Size
    num_key_value_heads: Size
    head_dim: Size
    rope_theta: PositiveFloat = 1e6
    rope_scaling: Llama3Scaling | None = None
    rms_norm_eps: PositiveFloat = 1e-6
    attention_bias: bool = True
    layer_types: tuple[LayerType, ...] = ()
    mamba_form: MambaForm = "mamba2"
    mamba_conv_kernel: Size = 4
    mamba_chunk_size: Size = 64
    mamba_norm_eps: PositiveFloat = 1e-5
    mamba_qkv_bias: bool = True

    @model_validator(mode="before")
    @classmethod
    def _all_attention_by_default(cls, values: Any) -> Any:
        number = values.get("num_hidden_layers") if isinstance(values, dict) else None
        if isinstance(number, int) and number <= MOST_LAYERS and not values.get("layer_types"):
            values = values | {"layer_types": ("full_attention",) * number}
        return values

    @model_validator(mode="after")
    def _layers_agree(self) -> BackboneConfig:
        if len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"layer_types has {len(self.layer_types)} entries for {self.num_hidden_layers} layers")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        if self.head_dim % 2:
            raise ValueError("head_dim must be even: rotary embedding rotates pairs of channels")
        return self

    @property
    def plan(self) -> LayerPlan:
        """The layer kinds as a plan."""
        return LayerPlan(layer_types=self.layer_types)

    @property
    def query_size(self) -> int:
        """Width of all query heads together, ``d_inner`` of the Mamba mixer."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Width of all key heads together, ``d_xb`` of the Mamba mixer."""
        return self.num_key_value_heads * self.head_dim

    @property
    def mamba_conv_size(self) -> int:
        """Channels of the mixer's convolution: x, B and C side by side."""
        return self.query_size + 2 * self.key_value_size

    def rope_frequencies(self, device: torch.device | str = "cpu") -> Tensor:
        """(head_dim / 2,) float32, see `mamtra.ops.rope.rope_frequencies`."""
        return rope_frequencies(self.head_dim, self.rope_theta, self.rope_scaling, device)


class SpeechLMConfig(BackboneConfig):
    """A backbone with text and speech tables, as in CosyVoice 2.

    Attributes:
        text_vocab_size: rows of the text table.
        num_speech_tokens: speech tokens 0 .. num_speech_tokens - 1; special ids follow.
        speech_vocab_size: rows of the speech table and of the output.
        eos_id: ends the speech.
        fill_id: asks for more text in the interleaved (bistream) layout.
        mix_ratio: text ids and speech tokens of a chunk of that layout.
    """

    text_vocab_size: Size
    num_speech_tokens: Size = 6561
    speech_vocab_size: Size = 6564
    eos_id: int = 6561
    fill_id: int = 6563
    mix_ratio: tuple[Size, Size] = MIX

    @model_validator(mode="before")
    @classmethod
    def _no_old_keys(cls, values: Any) -> Any:
        return refuse_renamed(values, {"speech_codes": "num_speech_tokens"})

    @model_validator(mode="after")
    def _ids_agree(self) -> SpeechLMConfig:
        if not self.num_speech_tokens <= self.eos_id < self.speech_vocab_size:
            raise ValueError("eos_id must follow the speech tokens and lie inside the speech vocabulary")
        return self

    @property
    def end_target(self) -> int:
        """The id that ends the speech in training. CosyVoice 3 has the marks of its inputs among the ids that end generation: sos,
        end, task, fill; `eos_id` is the first of them."""
        return self.eos_id + (self.fill_id - self.eos_id == 3)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Every id that ends generation: eos_id and all ids after it."""
        return tuple(range(self.eos_id, self.speech_vocab_size))


class CausalLMConfig(BackboneConfig):
    """A backbone with one table of tokens and a head over it, as in Qwen2 and Llama.

    Attributes:
        vocab_size: rows of the table and of the output.
        tie_word_embeddings: the head is the table.
        eos_ids: each ends generation.
    """

    vocab_size: Size
    tie_word_embeddings: bool = False
    eos_ids: tuple[int, ...] = ()
