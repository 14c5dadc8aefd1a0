"""One decode step of many streams: inputs, layers, logits and sampler, nothing of which waits for the host."""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.engine.decode_weights import DecodeWeights, LayerWeights
from mamtra.engine.device_sampling import sample_slots
from mamtra.engine.slot_table import ACTIVE, SlotTable
from mamtra.engine.state_pool import StatePool
from mamtra.ops.decode_attention import decode_attention
from mamtra.ops.decode_backend import use_triton
from mamtra.ops.decode_linear import decode_linear
from mamtra.ops.mamba_step import mamba_step


class DecodeStep:
    """Advances chosen slots of a pool by one token each.

    No shape depends on values, so that a CUDA graph can capture a call.

    Args:
        weights: of the model.
        pool: states of the slots.
        table: rules and counters of the slots.
        rows: rows of a call at most.
    """

    def __init__(self, weights: DecodeWeights, pool: StatePool, table: SlotTable, rows: int) -> None:
        self.weights, self.pool, self.table = weights, pool, table
        self._caches = pool.layer_caches()
        self._workspace = _workspace(weights, pool, rows) if use_triton(pool.lengths.device) else None

    def __call__(self, slots: Tensor) -> Tensor:
        """One step.

        Args:
            slots: (B,) int32, the slot of each row; the pool's scratch slot for rows that pad a batch.

        Returns:
            (B,) int32, see `mamtra.engine.device_sampling.sample_slots`.
        """
        hidden, used = self._inputs(slots)
        return sample_slots(self.logits(hidden, used), used, self.table, self.pool.lengths, self.weights.embeddings)

    def logits(self, hidden: Tensor, slots: Tensor) -> Tensor:
        """Feed (B, hidden_size), which is overwritten, and get (B, speech_vocab_size); lengths and table stay."""
        for layer, caches in zip(self.weights.layers, self._caches, strict=True):
            self._layer(layer, caches, hidden, slots)
        w, space = self.weights, self._workspace
        return decode_linear(hidden, w.head, w.head_bias, norm_weight=w.norm, eps=w.eps, workspace=space)

    def _layer(self, layer: LayerWeights, caches: tuple[Tensor, ...], hidden: Tensor, slots: Tensor) -> None:
        pool, space = self.pool, self._workspace
        normed = {"norm_weight": layer.norm, "eps": layer.eps, "workspace": space}
        projected = decode_linear(hidden, layer.project, layer.project_bias, **normed)
        if layer.mamba is None:
            mixed = decode_attention(projected, *caches, slots, pool.lengths, pool.cos, pool.sin, workspace=space)
        else:
            mixed = mamba_step(projected, *caches, slots, pool.lengths, layer.mamba)
        decode_linear(mixed, layer.out, residual=hidden, workspace=space)
        normed["norm_weight"] = layer.mlp_norm
        gated = decode_linear(hidden, layer.gate_up, gated=True, **normed)
        decode_linear(gated, layer.down, residual=hidden, workspace=space)

    def _inputs(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded inputs, and the slots to work on: a stream that has ended in an earlier step must not change any more."""
        table = self.table
        if self._workspace is not None:
            from mamtra.engine.device_sampling_triton import gather_inputs_triton

            hidden, used = table.inputs.new_empty(len(slots), table.inputs.shape[1]), torch.empty_like(slots)
            gather_inputs_triton(table, slots, used, hidden)
            return hidden, used
        used = torch.where(table.ints[slots.long(), ACTIVE] > 0, slots, table.scratch)
        return table.inputs[used.long()], used


def _workspace(weights: DecodeWeights, pool: StatePool, rows: int) -> object:
    from mamtra.ops import decode_attention_triton, decode_linear_triton
    from mamtra.ops.decode_kernels import Workspace

    config = pool.config
    widest = max(len(w) for layer in weights.layers for w in (layer.project, layer.out, layer.down, weights.head))
    size = max(
        decode_attention_triton.partials_needed(rows, config.num_attention_heads, config.head_dim),
        decode_linear_triton.partials_needed(rows, widest),
    )
    return Workspace(pool.lengths.device, size)
