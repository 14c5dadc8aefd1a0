"""Decode states of many streams side by side: a fixed number of slots, each with room for a known number of positions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig
from mamtra.models.state import AttentionState, DecodeState, MambaState
from mamtra.ops.rope import rope_table
from mamtra.runtime.memory import free_memory


@dataclass(frozen=True)
class PoolSnapshot:
    """See `mamtra.engine.slots.Snapshot`.

    Its size is that of the Mamba states and of the keys and values in use; a hybrid's is nearly constant.

    Attributes:
        kv: (attention layers, 2, groups, length, head_dim).
        conv: (Mamba layers, K, channels).
        ssm: (Mamba layers, heads, head_dim, head_dim).
        length: inputs that it has taken in.
        model: fingerprint of the model.
    """

    kv: Tensor
    conv: Tensor
    ssm: Tensor
    length: int
    model: str

    @property
    def bytes(self) -> int:
        """Memory of the state."""
        return sum(t.numel() * t.element_size() for t in (self.kv, self.conv, self.ssm))


class StatePool:
    """Memory for ``slots`` streams, allocated once; one more slot is scratch memory for idle rows.

    Args:
        config: of the model.
        slots: streams.
        capacity: positions of a stream.
        device: where it lies.
        dtype: of keys, values and convolution inputs.
        ssm_dtype: of the state-space states.
        model: fingerprint of the model, for snapshots.

    Attributes:
        kv: (attention layers, slots + 1, 2, groups, capacity, head_dim), keys RoPE-rotated.
        conv: (Mamba layers, slots + 1, K, channels), rings as in `mamtra.ops.mamba_step`.
        ssm: (Mamba layers, slots + 1, heads, head_dim, head_dim).
        lengths: (slots + 1,) int32, positions of each slot.
        cos: (capacity, head_dim) float32.
        sin: the same, signed.

    Raises:
        MamTraError: the memory does not suffice; the sentence says how many streams fit.
    """

    def __init__(
        self,
        config: BackboneConfig,
        slots: int,
        capacity: int,
        device: torch.device,
        dtype: torch.dtype,
        ssm_dtype: torch.dtype = torch.float32,
        model: str = "",
    ) -> None:
        if slots < 1 or capacity < 2:
            raise MamTraError("An engine needs at least one stream and two positions a stream.")
        self.config, self.capacity, self.model = config, capacity, model
        self.kinds = config.layer_types
        attention = sum(kind == "full_attention" for kind in self.kinds)
        mamba = len(self.kinds) - attention
        kv, conv, ssm = _shapes(config, capacity)
        need = stream_bytes(config, capacity, dtype, ssm_dtype)
        _check_memory(device, slots, capacity, need)
        try:
            self.kv = torch.zeros(attention, slots + 1, *kv, device=device, dtype=dtype)
            self.conv = torch.zeros(mamba, slots + 1, *conv, device=device, dtype=dtype)
            self.ssm = torch.zeros(mamba, slots + 1, *ssm, device=device, dtype=ssm_dtype)
        except RuntimeError as error:
            raise _too_many(slots, capacity, need, free_memory(str(device))) from error
        self.lengths = torch.zeros(slots + 1, device=device, dtype=torch.int32)
        self.frequencies = config.rope_frequencies(device)
        self.cos, self.sin = rope_table(capacity, self.frequencies)

    @property
    def slots(self) -> int:
        """Streams there is room for."""
        return self.lengths.shape[0] - 1

    def layer_caches(self) -> list[tuple[Tensor, ...]]:
        """Per layer ``(kv,)`` or ``(conv, ssm)``, views over all slots."""
        kv, mamba = iter(self.kv), iter(zip(self.conv, self.ssm, strict=True))
        return [(next(kv),) if kind == "full_attention" else next(mamba) for kind in self.kinds]

    def clear(self, slots: Tensor) -> None:
        """Make slots (B,) int64 as before the first position."""
        self.conv.index_fill_(1, slots, 0)
        self.ssm.index_fill_(1, slots, 0)
        self.lengths.index_fill_(0, slots, 0)

    # No shape of `load` and `store` depends on values, so that CUDA graphs can hold them. Behind a row's length keys and values
    # mean nothing.

    def recurrent(self, slots: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """A copy of the Mamba states of some slots.

        Args:
            slots: (B,) int64.
            lengths: (B,) int64, positions of each.

        Returns:
            (Mamba layers, B, K - 1, channels), the last inputs of the convolutions, oldest first, and the state-space states
            (Mamba layers, B, heads, head_dim, head_dim) float32.
        """
        return self.conv[:, slots[:, None], self._ring(lengths)], self.ssm[:, slots].float()

    def load(self, slots: Tensor, width: int, recurrent: tuple[Tensor, Tensor] | None = None) -> DecodeState:
        """The states of some slots, for a pass over further inputs; the caller sets length and positions.

        Args:
            slots: (B,) int64.
            width: positions there is room for, from 0 on; keys and values are copied.
            recurrent: what `recurrent` gave, copied too; None for empty states.
        """
        kv, mamba = iter(self.kv), iter(zip(*recurrent, strict=True)) if recurrent else iter(())
        layers: list[AttentionState | MambaState] = []
        for kind in self.kinds:
            if kind == "full_attention":
                cache = next(kv)[:, :, :, :width]
                layers.append(
                    AttentionState(cache[slots] if recurrent else cache.new_zeros(len(slots), *cache.shape[1:]))
                )
            elif recurrent:
                layers.append(MambaState(*(state.clone() for state in next(mamba))))
            else:
                conv = self.conv.new_zeros(len(slots), self.conv.shape[2] - 1, self.conv.shape[3])
                ssm = self.ssm.new_zeros(len(slots), *self.ssm.shape[2:], dtype=torch.float32)
                layers.append(MambaState(conv, ssm))
        return DecodeState(layers, self.cos[:width], self.sin[:width], self.frequencies)

    def store(self, slots: Tensor, state: DecodeState, lengths: Tensor) -> None:
        """Take in what a pass over right-padded rows has left of what `load` gave.

        Args:
            slots: (B,) int64, of the rows; the scratch slot for those that pad the batch.
            state: of B rows.
            lengths: (B,) int64, positions of each.
        """
        order = self._ring(lengths)
        kv, mamba = iter(self.kv), iter(zip(self.conv, self.ssm, strict=True))
        for layer in state.layers:
            if isinstance(layer, AttentionState):
                next(kv)[:, :, :, : layer.kv.shape[3]].index_copy_(0, slots, layer.kv)
            else:
                conv, ssm = next(mamba)
                conv[slots[:, None], order] = layer.conv
                ssm.index_copy_(0, slots, layer.ssm.to(ssm.dtype))
        self.lengths.index_copy_(0, slots, lengths.to(self.lengths.dtype))

    def _ring(self, lengths: Tensor) -> Tensor:
        """(B, K - 1), places of the convolution's last inputs, oldest first."""
        taps = self.conv.shape[2]
        return (lengths[:, None] + torch.arange(1 - taps, 0, device=lengths.device)) % taps

    def snapshot(self, slot: int, length: int) -> PoolSnapshot:
        """A copy of the first ``length`` positions' state; the slot must be exactly so long."""
        kv = self.kv[:, slot, :, :, :length].clone()
        return PoolSnapshot(kv, self.conv[:, slot].clone(), self.ssm[:, slot].clone(), length, self.model)

    def restore(self, slot: int, snapshot: PoolSnapshot) -> None:
        """Start a slot from a snapshot, in three copies.

        Raises:
            MamTraError: it is of another model, or longer than a slot.
        """
        if snapshot.model != self.model:
            raise MamTraError("This snapshot was made with another model; make it again with this one.")
        if snapshot.length >= self.capacity:
            raise MamTraError(f"This snapshot has {snapshot.length} positions, but a stream has {self.capacity}.")
        self.kv[:, slot, :, :, : snapshot.length] = snapshot.kv
        self.conv[:, slot] = snapshot.conv
        self.ssm[:, slot] = snapshot.ssm
        self.lengths[slot].fill_(snapshot.length)


def stream_bytes(
    config: BackboneConfig, capacity: int, dtype: torch.dtype, ssm_dtype: torch.dtype = torch.float32
) -> int:
    """Memory of one stream, known before it starts."""
    attention = sum(kind == "full_attention" for kind in config.layer_types)
    kv, conv, ssm = (torch.Size(shape).numel() for shape in _shapes(config, capacity))
    mamba = conv * dtype.itemsize + ssm * ssm_dtype.itemsize
    return attention * kv * dtype.itemsize + (config.num_hidden_layers - attention) * mamba


def fingerprint(config: BackboneConfig, weight: Tensor) -> str:
    """Of a model, from its sizes and a sample of one matrix."""
    sample = weight.detach().flatten()[:: max(1, weight.numel() // 64)].float().cpu()
    return hashlib.sha256(config.model_dump_json().encode() + sample.numpy().tobytes()).hexdigest()[:16]


def _shapes(config: BackboneConfig, capacity: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of one layer and one slot: keys and values, the convolution's ring, the SSM state."""
    size = config.head_dim
    return (
        (2, config.num_key_value_heads, capacity, size),
        (config.mamba_conv_kernel, config.mamba_conv_size),
        (config.num_attention_heads, size, size),
    )


def _check_memory(device: torch.device, slots: int, capacity: int, need: int) -> None:
    if device.type == "cuda" and (slots + 1) * need > (free := free_memory(str(device))):
        raise _too_many(slots, capacity, need, free)


def _too_many(slots: int, capacity: int, need: int, free: int | None) -> MamTraError:
    asked = f"{slots} streams of {capacity} positions need {(slots + 1) * need / 1e9:.2f} GB of memory"
    if free is None:
        return MamTraError(f"{asked}, which cannot be taken; use fewer or shorter ones.")
    return MamTraError(f"{asked}, but {free / 1e9:.2f} GB are free: {max(0, free // need - 1)} streams fit.")
