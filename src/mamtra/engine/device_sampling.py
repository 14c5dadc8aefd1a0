"""Repetition-aware sampling of a whole batch on its device, with random numbers that are a function of seed and draw."""

from __future__ import annotations

import torch
from torch import Tensor

from mamtra.engine.request import MOST_TOP_K, MOST_WINDOW
from mamtra.engine.slot_table import (
    ACTIVE,
    DRAWS,
    FILL_AT,
    INTERLEAVED,
    LAST,
    LEAST,
    MOST,
    MOST_REPEATS,
    MOST_SILENCE,
    REPEATS,
    RUN,
    SEED_HIGH,
    SEED_LOW,
    SHARPNESS,
    SILENT_RUN,
    TOP_K,
    TOP_P,
    WINDOW,
    SlotTable,
)  # fmt: skip
from mamtra.engine.slots import FAILED, IDLE
from mamtra.ops.backend import use_triton
from mamtra.ops.decode_types import Normed
from mamtra.ops.norms import rms_norm
from mamtra.ops.philox import philox_uniform


def gather_inputs(slots: Tensor, table: SlotTable, norm_weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Normed]:
    """What a step starts from.

    Args:
        slots: (B,) int32 or int64.
        table: of the slots.
        norm_weight: (hidden_size,) of the first norm.
        eps: of that norm.

    Returns:
        The slots to work on (B,), the scratch slot for rows that are not active: a stream that has ended in an earlier step must
        not change any more; the embedded inputs (B, hidden_size); and the same behind the norm.
    """
    if use_triton(slots.device):
        from mamtra.engine.device_sampling_triton import gather_inputs_triton

        return gather_inputs_triton(table, slots, norm_weight)
    used = torch.where(table.ints[slots.long(), ACTIVE] > 0, slots, table.scratch)
    hidden = table.inputs[used.long()]
    return used, hidden, Normed(rms_norm(hidden, norm_weight, eps), None)


def sample_slots(logits: Tensor, slots: Tensor, table: SlotTable, lengths: Tensor, embeddings: Tensor) -> Tensor:
    """Draw one token for every row, update its slot, and embed the token as the slot's next input.

    The rules are those of `mamtra.engine.sampling.ras_sample`, but random numbers come from `mamtra.ops.philox`, keyed by the
    request's seed and counted by its draws: a request's tokens do not depend on the rest of the batch.

    Args:
        logits: (B, speech_vocab_size).
        slots: (B,) int32 or int64; rows whose slot is not active change nothing.
        table: of the slots; written in place.
        lengths: (slots + 1,) int32, positions of each slot; one more for each active row.
        embeddings: (speech_vocab_size, hidden_size).

    Returns:
        (B,) int32: the token drawn, `IDLE` for rows that were not active, `FAILED` where logits were not finite.
    """
    if use_triton(logits.device):
        from mamtra.engine.device_sampling_triton import sample_slots_triton

        return sample_slots_triton(logits, slots, table, lengths, embeddings)
    return sample_slots_naive(logits, slots, table, lengths, embeddings)


def sample_slots_naive(logits: Tensor, slots: Tensor, table: SlotTable, lengths: Tensor, embeddings: Tensor) -> Tensor:
    """`sample_slots` in torch's own operations."""
    slots = slots.long()
    rows = table.ints[slots]
    active, draws, last = rows[:, ACTIVE] > 0, rows[:, DRAWS], rows[:, LAST]
    logits = logits.float()
    failed = active & ~(logits.amax(1) - logits.amin(1)).isfinite()
    ids = torch.arange(logits.shape[1], device=logits.device)

    # ids that may not come now
    interleaved = (rows[:, INTERLEAVED] > 0)[:, None]
    spare = (ids > table.eos_id) & (ids != table.fill_id)
    early, everything = (draws < rows[:, LEAST])[:, None], (rows[:, TOP_K] == 0)[:, None]
    banned = (ids == table.eos_id) & (early | interleaved) | spare & interleaved
    banned |= (ids >= table.eos_id) & early & everything
    tired = (rows[:, MOST_REPEATS] > 0) & (rows[:, RUN] >= rows[:, MOST_REPEATS])
    banned |= tired[:, None] & (ids == last[:, None])
    quiet = (rows[:, MOST_SILENCE] > 0) & (rows[:, SILENT_RUN] >= rows[:, MOST_SILENCE])
    banned |= quiet[:, None] & table.silent
    logits = (logits * rows[:, SHARPNESS, None].view(torch.float32)).masked_fill(banned, float("-inf"))

    seed = (rows[:, SEED_HIGH].long() << 32) | (rows[:, SEED_LOW].long() & 0xFFFFFFFF)
    first, second = philox_uniform(seed, draws)
    token = _from_nucleus(logits, rows[:, TOP_P].view(torch.float32), rows[:, TOP_K], first)
    token = torch.where(everything[:, 0], _from_all(logits, first), token)
    place = torch.arange(MOST_WINDOW, device=logits.device)
    age = (draws[:, None] - 1 - place) % MOST_WINDOW
    near = age < rows[:, WINDOW, None]
    repeated = (near & (table.history[slots] == token[:, None])).sum(1) >= rows[:, REPEATS]
    rest = _from_all(logits.masked_fill(ids == token[:, None], float("-inf")), second)
    token = torch.where(repeated & (rows[:, WINDOW] > 0), rest, token)
    token = torch.where((rows[:, INTERLEAVED] > 0) & (draws == rows[:, FILL_AT]), table.fill_id, token).int()

    silent = table.silent[token.long()]
    more, over = draws + 1, (token >= table.eos_id) | (draws + 1 >= rows[:, MOST])
    changed = rows.clone()
    changed[:, ACTIVE] = (~over & ~failed).int()
    changed[:, DRAWS] = more
    changed[:, RUN] = torch.where(token == last, rows[:, RUN] + 1, 1)
    changed[:, SILENT_RUN] = torch.where(silent, rows[:, SILENT_RUN] + 1, 0)
    changed[:, LAST] = token
    table.ints[slots] = torch.where(active[:, None], changed, rows)
    now = draws.long() % MOST_WINDOW
    table.history[slots, now] = torch.where(active, token, table.history[slots, now])
    lengths[slots] += active.to(lengths.dtype)
    table.inputs[slots] = torch.where(active[:, None], embeddings[token.long()], table.inputs[slots])
    return torch.where(active, torch.where(failed, FAILED, token), IDLE).int()


def _from_nucleus(logits: Tensor, top_p: Tensor, top_k: Tensor, uniform: Tensor) -> Tensor:
    """Ids (B,) int64: most probable first, taken while those before sum to less than top_p and are fewer than top_k."""
    kept, ids = torch.softmax(logits, -1).sort(dim=-1, descending=True, stable=True)  # of equal ones the lower id first
    kept, ids = kept[:, :MOST_TOP_K], ids[:, :MOST_TOP_K]
    before = kept.cumsum(-1) - kept
    rank = torch.arange(kept.shape[1], device=kept.device)
    inside = (rank < top_k[:, None]) & ((before < top_p[:, None]) | (rank == 0))
    return ids.gather(1, _invert(kept.masked_fill(~inside, 0), uniform))[:, 0]


def _from_all(logits: Tensor, uniform: Tensor) -> Tensor:
    return _invert(torch.softmax(logits, -1), uniform)[:, 0]


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """(B, 1) int64: the first index whose running sum exceeds that fraction of the whole; one of positive weight."""
    running = weights.cumsum(-1)
    found = (running <= uniform[:, None] * running[:, -1:]).sum(-1, keepdim=True)
    index = torch.arange(weights.shape[1], device=weights.device)
    last = torch.where(weights > 0, index, 0).amax(-1, keepdim=True)
    return torch.minimum(found, last)
