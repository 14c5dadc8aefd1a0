"""One decode step of many streams: inputs, layers, logits and sampler, nothing of which waits for the host."""

from __future__ import annotations

from torch import Tensor

from mamtra.engine.decode_weights import DecodeWeights, LayerWeights
from mamtra.engine.device_sampling import gather_inputs, sample_slots
from mamtra.engine.slot_table import SlotTable
from mamtra.engine.state_pool import StatePool
from mamtra.ops.backend import use_triton
from mamtra.ops.decode_attention import decode_attention
from mamtra.ops.decode_linear import decode_linear, decode_linear_add
from mamtra.ops.decode_types import Normed, values_of
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
        first = self.weights.layers[0]
        used, hidden, normed = gather_inputs(slots, self.table, first.norm, first.eps)
        logits = self.logits(used, hidden, normed)
        return sample_slots(logits, used, self.table, self.pool.lengths, self.weights.embeddings)

    def logits(self, slots: Tensor, hidden: Tensor, normed: Normed) -> Tensor:
        """Feed what `gather_inputs` gives and get (B, speech_vocab_size); lengths and table stay."""
        w, space = self.weights, self._workspace
        following = [(layer.norm, layer.eps) for layer in w.layers[1:]] + [(w.norm, w.eps)]
        for layer, caches, (norm, eps) in zip(w.layers, self._caches, following, strict=True):
            mixed = self._mix(layer, caches, normed, slots)
            normed = decode_linear_add(mixed, layer.out, hidden, layer.mlp_norm, eps=layer.eps, workspace=space)
            gated = decode_linear(normed, layer.gate_up, eps=layer.eps, gated=True, workspace=space)
            normed = decode_linear_add(gated, layer.down, hidden, norm, eps=eps, workspace=space)
        return decode_linear(normed, w.head, w.head_bias, eps=w.eps, workspace=space)

    def _mix(self, layer: LayerWeights, caches: tuple[Tensor, ...], normed: Normed, slots: Tensor) -> Tensor:
        pool, space = self.pool, self._workspace
        projected = decode_linear(normed, layer.project, layer.project_bias, eps=layer.eps, workspace=space)
        if layer.mamba is None:
            return decode_attention(projected, *caches, slots, pool.lengths, pool.cos, pool.sin, workspace=space)
        return mamba_step(projected, *caches, slots, pool.lengths, layer.mamba)


def _workspace(weights: DecodeWeights, pool: StatePool, rows: int) -> object:
    from mamtra.ops import decode_attention_triton, decode_linear_triton
    from mamtra.ops.decode_kernels import Workspace

    config = pool.config
    widest = max(
        len(values_of(w)) for layer in weights.layers for w in (layer.project, layer.out, layer.down, weights.head)
    )
    size = max(
        decode_attention_triton.partials_needed(rows, config.num_attention_heads, config.head_dim),
        decode_linear_triton.partials_needed(rows, widest),
    )
    return Workspace(pool.lengths.device, size)
