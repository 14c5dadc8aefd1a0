"""The decode state of a model: an explicit object with one entry per layer, never a hidden attribute of a module."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig
from mamtra.models.positions import Positions
from mamtra.ops.rope import rope_table


@dataclass
class AttentionState:
    """Keys and values of one layer.

    Attributes:
        kv: (B, 2, kv_heads, max_length, head_dim), RoPE-rotated keys, and values; written in place.
    """

    kv: Tensor

    def append(self, k: Tensor, v: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
        """Append the keys and values of a pass to the cache.

        Args:
            k: (B, kv_heads, L, head_dim), RoPE-rotated.
            v: the same shape.
            positions: of the pass.

        Returns:
            The keys and values to attend to, (B, kv_heads, last axis of the mask, head_dim); without a mask `k` and `v`.
        """
        kv = torch.stack((k, v), 1)
        if positions.ids is None:
            self.kv[:, :, :, positions.offset : positions.offset + kv.shape[3]] = kv
        else:
            row = torch.arange(kv.shape[0], device=kv.device)[:, None]
            # Indices on both sides of two slices: the indexed axes (B, L) come first.
            self.kv[row, :, :, positions.ids] = kv.permute(0, 3, 1, 2, 4).to(self.kv.dtype)
        if positions.mask is None:
            return k, v
        keys, values = self.kv[:, :, :, : positions.mask.shape[-1]].unbind(1)
        return keys, values


@dataclass
class MambaState:
    """State of one Mamba layer, of a size that does not depend on the length.

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
        length: positions in the state, padding included; the same for all rows.
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
        """An empty state.

        Args:
            config: of the model.
            batch: rows B.
            max_length: capacity in positions.
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
        """Capacity in positions."""
        return self.cos.shape[0]

    def reserve(self, count: int) -> None:
        """Check that ``count`` more positions fit.

        Raises:
            MamTraError: they do not.
        """
        if self.length + count > self.max_length:
            raise MamTraError(
                f"This state has a capacity of {self.max_length} positions, but {self.length + count} are needed; "
                "make it with a larger max_length."
            )

    def next_positions(self, length: int, lengths: Tensor | None = None) -> Positions:
        """The next ``length`` positions of each row; ``lengths`` (B,) are valid where rows are right-padded."""
        start, end = self.length, self.length + length
        if self.positions is None:
            cos, sin = self.cos[start:end], self.sin[start:end]
            mask = None
            if start:
                mask = torch.ones(length, end, dtype=torch.bool, device=cos.device).tril(start)[None, None]
            return Positions(cos, sin, start, lengths, None, mask)
        ids = self.positions[:, None] + torch.arange(length, device=self.cos.device)
        mask = torch.arange(end, device=self.cos.device) <= ids[:, None, :, None]
        return Positions(self.cos[ids].unsqueeze(1), self.sin[ids].unsqueeze(1), start, lengths, ids, mask)

    def bytes(self, used: bool = False) -> int:
        """Memory of the layers' state.

        Args:
            used: count keys and values only up to ``length`` instead of all that is allocated.
        """
        kv, other = self.sizes()
        return (kv // self.max_length * self.length if used else kv) + other

    def sizes(self) -> tuple[int, int]:
        """Bytes allocated for keys and values, and for the states of Mamba layers."""
        attention = [layer for layer in self.layers if isinstance(layer, AttentionState)]
        mamba = [layer for layer in self.layers if isinstance(layer, MambaState)]
        return sum(layer.kv.nbytes for layer in attention), sum(layer.conv.nbytes + layer.ssm.nbytes for layer in mamba)

    def clone(self, max_length: int | None = None) -> DecodeState:
        """A copy that shares no memory that is ever written.

        Args:
            max_length: capacity of the copy; ``state.clone(state.length)`` is the smallest snapshot, a larger one can be
                continued.

        Raises:
            MamTraError: a capacity below the positions in use.
        """
        capacity = self.max_length if max_length is None else max_length
        if capacity < self.length:
            raise MamTraError(f"A state of {self.length} positions cannot be copied into a capacity of {capacity}.")
        layers: list[AttentionState | MambaState] = []
        for layer in self.layers:
            if isinstance(layer, AttentionState):
                kv = layer.kv.new_zeros(*layer.kv.shape[:3], capacity, layer.kv.shape[4])
                kv[:, :, :, : self.length] = layer.kv[:, :, :, : self.length]
                layers.append(AttentionState(kv))
            else:
                layers.append(MambaState(layer.conv.clone(), layer.ssm.clone()))
        positions = None if self.positions is None else self.positions.clone()
        cos, sin = self.cos, self.sin
        if capacity != self.max_length:
            cos, sin = rope_table(capacity, self.frequencies)
        return replace(self, layers=layers, positions=positions, cos=cos, sin=sin)
