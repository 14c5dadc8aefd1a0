"""What a model remembers while it decodes: explicit, per layer, and never a hidden attribute of a module."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig
from mamtra.ops.rope import rope_table

if TYPE_CHECKING:
    from mamtra.models.attention import Span


@dataclass
class AttentionState:
    """Keys and values of one layer.

    Attributes:
        kv: (B, 2, kv_heads, max_length, head_dim), keys (already turned) and values; written in place.
    """

    kv: Tensor

    def append(self, k: Tensor, v: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        """Write the keys and values of a pass; what its queries look at comes back.

        Args:
            k: (B, kv_heads, L, head_dim), already turned.
            v: the same shape.
            span: of the pass.

        Returns:
            Keys and values (B, kv_heads, positions of the span's mask, head_dim); without a mask those that were given.
        """
        kv = torch.stack((k, v), 1)
        if span.positions is None:
            self.kv[:, :, :, span.start : span.start + kv.shape[3]] = kv
        else:
            row = torch.arange(kv.shape[0], device=kv.device)[:, None]
            # Indices on both sides of two slices: the indexed axes (B, L) come first.
            self.kv[row, :, :, span.positions] = kv.permute(0, 3, 1, 2, 4).to(self.kv.dtype)
        if span.mask is None:
            return k, v
        keys, values = self.kv[:, :, :, : span.mask.shape[-1]].unbind(1)
        return keys, values


@dataclass
class MambaState:
    """Memory of one Mamba layer, independent of the length.

    Attributes:
        conv: (B, taps - 1, channels), the last inputs of the convolution, oldest first; written in place.
        ssm: (B, heads, head_dim, head_dim) float32, P x N; written in place.
    """

    conv: Tensor
    ssm: Tensor


@dataclass
class DecodeState:
    """State of a batch of sequences.

    Attributes:
        layers: one state a layer.
        cos: (max_length, head_dim), cosine of every position.
        sin: (max_length, head_dim), signed sine.
        frequencies: (head_dim / 2,), of the tables.
        length: positions that were fed, padding included; the same for all rows.
        positions: (B,) int64, valid positions of each row, or None while all rows are full.
    """

    layers: list[AttentionState | MambaState]
    cos: Tensor
    sin: Tensor
    frequencies: Tensor
    length: int = 0
    positions: Tensor | None = None

    @classmethod
    def empty(
        cls,
        config: BackboneConfig,
        batch: int,
        max_length: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> DecodeState:
        """State before the first position.

        Args:
            config: of the model.
            batch: rows B.
            max_length: positions there is room for.
            device: where the state lives.
            dtype: of keys, values and convolution inputs; the state-space part is float32 always.
        """
        kv_shape = (batch, 2, config.num_key_value_heads, max_length, config.head_dim)
        conv_shape = (batch, config.mamba_conv_kernel - 1, config.mamba_conv_size)
        ssm_shape = (batch, config.num_attention_heads, config.head_dim, config.head_dim)
        layers: list[AttentionState | MambaState] = []
        for kind in config.layer_types:
            if kind == "full_attention":
                layers.append(AttentionState(torch.zeros(kv_shape, device=device, dtype=dtype)))
            else:
                conv = torch.zeros(conv_shape, device=device, dtype=dtype)
                layers.append(MambaState(conv, torch.zeros(ssm_shape, device=device, dtype=torch.float32)))
        frequencies = config.rope_frequencies(device)
        return cls(layers, *rope_table(max_length, frequencies), frequencies)

    @property
    def max_length(self) -> int:
        """Positions there is room for."""
        return self.cos.shape[0]

    def reserve(self, count: int) -> None:
        """Check that ``count`` more positions fit.

        Raises:
            MamTraError: they do not.
        """
        if self.length + count > self.max_length:
            raise MamTraError(
                f"This state has room for {self.max_length} positions, but {self.length + count} are needed; "
                "make it with a larger max_length."
            )

    def bytes(self, used: bool = False) -> int:
        """Memory of the layers' state.

        Args:
            used: count keys and values only up to ``length`` instead of all that is allocated.
        """
        total = 0
        for layer in self.layers:
            if isinstance(layer, AttentionState):
                size = layer.kv.numel() * layer.kv.element_size()
                total += size // self.max_length * self.length if used else size
            else:
                total += sum(t.numel() * t.element_size() for t in (layer.conv, layer.ssm))
        return total

    def clone(self, max_length: int | None = None) -> DecodeState:
        """A copy that shares nothing that is ever written.

        Args:
            max_length: room of the copy; ``state.clone(state.length)`` is the smallest snapshot, and a larger number
                makes it ready to go on.

        Raises:
            MamTraError: less room than positions in use.
        """
        room = self.max_length if max_length is None else max_length
        if room < self.length:
            raise MamTraError(f"A state of {self.length} positions cannot be copied into room for {room}.")
        layers: list[AttentionState | MambaState] = []
        for layer in self.layers:
            if isinstance(layer, AttentionState):
                kv = layer.kv.new_zeros(*layer.kv.shape[:3], room, layer.kv.shape[4])
                kv[:, :, :, : self.length] = layer.kv[:, :, :, : self.length]
                layers.append(AttentionState(kv))
            else:
                layers.append(MambaState(layer.conv.clone(), layer.ssm.clone()))
        positions = None if self.positions is None else self.positions.clone()
        cos, sin = self.cos, self.sin
        if room != self.max_length:
            cos, sin = rope_table(room, self.frequencies)
        return replace(self, layers=layers, positions=positions, cos=cos, sin=sin)
