"""Sizes of the speech language model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from mamtra.models.plan import LayerPlan, LayerType


class SpeechLMConfig(BaseModel):
    """A Qwen2-shaped backbone with text and speech tables, as in CosyVoice 2, and a token mixer for every layer.

    Attributes:
        hidden_size: width of the residual stream.
        intermediate_size: width of the gated feed-forward.
        num_hidden_layers: layers.
        num_attention_heads: query heads; the Mamba mixer has as many heads.
        num_key_value_heads: key/value heads; the Mamba mixer shares x and B in the same groups.
        head_dim: size of a head and of the Mamba state.
        text_vocab_size: rows of the text table.
        speech_codes: speech codes proper, 0 .. speech_codes - 1.
        speech_vocab_size: rows of the speech table and of the output.
        eos_id: end of speech.
        fill_id: "more text, please" of the interleaved layout.
        rope_theta: base of the rotary wave lengths.
        rms_norm_eps: of the layer norms.
        layer_types: one kind per layer; all attention when left out.
        mamba_conv_kernel: taps of the mixer's causal convolution.
        mamba_chunk_size: inputs per chunk of the scan.
        mamba_norm_eps: of the mixer's gated norm.
        mamba_qkv_bias: the mixer's in_proj has a bias, which takes over the attention's biases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    text_vocab_size: int
    speech_codes: int = 6561
    speech_vocab_size: int = 6564
    eos_id: int = 6561
    fill_id: int = 6563
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6
    layer_types: tuple[LayerType, ...] = ()
    mamba_conv_kernel: int = 4
    mamba_chunk_size: int = 64
    mamba_norm_eps: float = 1e-5
    mamba_qkv_bias: bool = True

    @model_validator(mode="before")
    @classmethod
    def _all_attention_by_default(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("layer_types"):
            values = values | {"layer_types": ("full_attention",) * int(values.get("num_hidden_layers", 0))}
        return values

    @model_validator(mode="after")
    def _sizes_agree(self) -> SpeechLMConfig:
        if len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"layer_types has {len(self.layer_types)} entries for {self.num_hidden_layers} layers")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        if self.head_dim % 2:
            raise ValueError("head_dim must be even: rotary embedding turns pairs of channels")
        if not self.speech_codes <= self.eos_id < self.speech_vocab_size:
            raise ValueError("eos_id must lie behind the speech codes and inside the speech vocabulary")
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

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Every id that ends generation: eos and whatever lies behind it."""
        return tuple(range(self.eos_id, self.speech_vocab_size))
