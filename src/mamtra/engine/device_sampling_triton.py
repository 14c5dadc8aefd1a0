"""`mamtra.engine.device_sampling` as one Triton kernel: a program samples one row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mamtra.engine import slot_table as columns
from mamtra.engine.request import MOST_TOP_K, MOST_WINDOW
from mamtra.engine.slot_table import SlotTable
from mamtra.engine.slots import FAILED, IDLE
from mamtra.ops.decode_kernels import launch_options, wait_for_previous
from mamtra.ops.decode_types import Normed

LAUNCH = {"num_warps": 8, "num_stages": 1}
_ACTIVE = tl.constexpr(columns.ACTIVE)
_DRAWS = tl.constexpr(columns.DRAWS)
_FAILED = tl.constexpr(FAILED)
_FILL_AT = tl.constexpr(columns.FILL_AT)
_IDLE = tl.constexpr(IDLE)
_INTERLEAVED = tl.constexpr(columns.INTERLEAVED)
_LAST = tl.constexpr(columns.LAST)
_LEAST = tl.constexpr(columns.LEAST)
_MOST = tl.constexpr(columns.MOST)
_MOST_REPEATS = tl.constexpr(columns.MOST_REPEATS)
_MOST_SILENCE = tl.constexpr(columns.MOST_SILENCE)
_REPEATS = tl.constexpr(columns.REPEATS)
_RUN = tl.constexpr(columns.RUN)
_SEED_HIGH = tl.constexpr(columns.SEED_HIGH)
_SEED_LOW = tl.constexpr(columns.SEED_LOW)
_SHARPNESS = tl.constexpr(columns.SHARPNESS)
_SILENT_RUN = tl.constexpr(columns.SILENT_RUN)
_TOP_K = tl.constexpr(columns.TOP_K)
_TOP_P = tl.constexpr(columns.TOP_P)
_WINDOW = tl.constexpr(columns.WINDOW)


def sample_slots_triton(logits: Tensor, slots: Tensor, table: SlotTable, lengths: Tensor, embeddings: Tensor) -> Tensor:
    """See `mamtra.engine.device_sampling.sample_slots`."""
    rows, ids = logits.shape
    out = torch.empty(rows, dtype=torch.int32, device=logits.device)
    best, kept = torch.empty(2, rows, MOST_TOP_K, dtype=torch.float32, device=logits.device)
    kept_ids = torch.empty(rows, MOST_TOP_K, dtype=torch.int32, device=logits.device)
    _sample_kernel[(rows,)](
        logits, slots, table.ints, table.history, table.silent.view(torch.uint8), lengths, embeddings, table.inputs, out,
        best, kept, kept_ids, ids, embeddings.shape[1], table.eos_id, table.fill_id, logits.stride(0), COLUMNS=columns.COLUMNS,
        HISTORY=MOST_WINDOW, CANDIDATES=MOST_TOP_K, V=max(MOST_TOP_K, triton.next_power_of_2(ids)),
        E=triton.next_power_of_2(embeddings.shape[1]), **LAUNCH, **launch_options(logits.device),
    )  # fmt: skip
    return out


def gather_inputs_triton(table: SlotTable, slots: Tensor, norm_weight: Tensor) -> tuple[Tensor, Tensor, Normed]:
    """See `mamtra.engine.device_sampling.gather_inputs`."""
    used, (rows, size) = torch.empty_like(slots), (slots.shape[0], table.inputs.shape[1])
    hidden, scaled = (table.inputs.new_empty(rows, size) for _ in range(2))
    squares = torch.empty(rows, 1, dtype=torch.float32, device=slots.device)
    _gather_kernel[(rows,)](
        table.inputs, table.ints, slots, norm_weight, used, hidden, scaled, squares, table.scratch, size, COLUMNS=columns.COLUMNS,
        E=triton.next_power_of_2(size), **launch_options(slots.device),
    )  # fmt: skip
    return used, hidden, Normed(scaled, squares)


@triton.jit
def _gather_kernel(
    inputs_at, ints_at, slots_at, norm_at, used_at, hidden_at, scaled_at, squares_at, scratch, size,
    COLUMNS: tl.constexpr, E: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    wait_for_previous(PDL)
    row = tl.program_id(0)
    slot = tl.load(slots_at + row).to(tl.int32)
    slot = tl.where(tl.load(ints_at + slot.to(tl.int64) * COLUMNS + _ACTIVE) > 0, slot, scratch)
    e = tl.arange(0, E)
    embedded = tl.load(inputs_at + slot.to(tl.int64) * size + e, e < size, 0.0)
    tl.store(hidden_at + row * size + e, embedded, e < size)
    wide = embedded.to(tl.float32)
    scaled = wide * tl.load(norm_at + e, e < size, 0.0).to(tl.float32)
    tl.store(scaled_at + row * size + e, scaled.to(embedded.dtype), e < size)
    tl.store(squares_at + row, tl.sum(wide * wide, 0))
    tl.store(used_at + row, slot.to(used_at.dtype.element_ty))


@triton.jit
def _sample_kernel(
    logits_at, slots_at, ints_at, history_at, silent_at, lengths_at, embeddings_at, inputs_at, out_at, best_at, kept_at,
    kept_ids_at, count, size, eos_id, fill_id, width,
    COLUMNS: tl.constexpr, HISTORY: tl.constexpr, CANDIDATES: tl.constexpr, V: tl.constexpr,
    E: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    wait_for_previous(PDL)
    slot = tl.load(slots_at + row).to(tl.int64)
    ints_at += slot * COLUMNS
    if tl.load(ints_at + _ACTIVE) > 0:
        ids = tl.arange(0, V)
        logits = tl.load(logits_at + row * width + ids, ids < count, 0.0).to(tl.float32)
        # infinite and undefined values give an undefined sum
        finite = tl.sum(logits * 0.0, 0) == 0.0
        draws, last, run = tl.load(ints_at + _DRAWS), tl.load(ints_at + _LAST), tl.load(ints_at + _RUN)
        silent_run = tl.load(ints_at + _SILENT_RUN)
        interleaved = tl.load(ints_at + _INTERLEAVED) > 0
        banned = ids >= count
        if interleaved:
            banned = banned | ((ids >= eos_id) & (ids != fill_id))
        top_k, early = tl.load(ints_at + _TOP_K), draws < tl.load(ints_at + _LEAST)
        banned = banned | (early & ((ids == eos_id) | ((ids >= eos_id) & (top_k == 0))))
        most_repeats = tl.load(ints_at + _MOST_REPEATS)
        banned = banned | ((ids == last) & (most_repeats > 0) & (run >= most_repeats))
        most_silence = tl.load(ints_at + _MOST_SILENCE)
        if (most_silence > 0) & (silent_run >= most_silence):
            banned = banned | (tl.load(silent_at + ids, ids < count, 0) > 0)
        logits *= tl.load(ints_at + _SHARPNESS).to(tl.float32, bitcast=True)
        logits = tl.where(banned, float("-inf"), logits)
        weights = tl.exp(logits - tl.max(logits, 0))
        weights = tl.where(weights == weights, weights, 0.0)
        total = tl.sum(weights, 0)

        seed = tl.load(ints_at + _SEED_LOW).to(tl.uint32, bitcast=True).to(tl.uint64)
        seed |= tl.load(ints_at + _SEED_HIGH).to(tl.uint32, bitcast=True).to(tl.uint64) << 32
        zero = draws * 0
        first, second, _, _ = tl.philox(seed, draws, zero, zero, zero)
        first, second = (
            (first >> 8).to(tl.float32) * 5.9604644775390625e-8,
            (second >> 8).to(tl.float32) * 5.9604644775390625e-8,
        )

        # Ids that can be among the top_k: at least so many are as probable as the best of chunk number top_k in order. Chunks take
        # every 128th id, since neighbours are alike.
        best = tl.max(tl.reshape(weights, [V // CANDIDATES, CANDIDATES]), 0)
        best_row = best_at + row * CANDIDATES
        rank = tl.arange(0, CANDIDATES)
        tl.store(best_row + rank, best)
        tl.debug_barrier()
        others = tl.load(best_row + rank)
        better = tl.sum((others[None, :] > best[:, None]).to(tl.int32), 1)
        least = tl.max(tl.where(better >= top_k - 1, best, 0.0), 0)
        count_able, highest, tries = tl.sum((weights >= least).to(tl.int32), 0), 1.0, 0
        while (count_able > CANDIDATES) & (tries < 40):
            middle = (least + highest) / 2
            count_middle = tl.sum((weights >= middle).to(tl.int32), 0)
            enough = count_middle >= top_k
            least, highest = tl.where(enough, middle, least), tl.where(enough, highest, middle)
            count_able = tl.where(enough, count_middle, count_able)
            tries += 1
        able = (weights >= least) & (weights > 0)
        place = tl.cumsum(able.to(tl.int32), 0) - 1
        able = able & (place < CANDIDATES)
        kept_row, ids_row = kept_at + row * CANDIDATES, kept_ids_at + row * CANDIDATES
        tl.debug_barrier()
        tl.store(best_row + rank, 0.0)
        tl.store(ids_row + rank, 0)
        tl.debug_barrier()
        tl.store(best_row + place, weights, able)
        tl.store(ids_row + place, ids, able)
        tl.debug_barrier()
        # in order, most probable first; of equal ones the lower id
        found, found_ids = tl.load(best_row + rank), tl.load(ids_row + rank)
        other, other_rank = tl.expand_dims(tl.load(best_row + rank), 0), tl.expand_dims(rank, 0)
        mine, my_rank = tl.expand_dims(found, 1), tl.expand_dims(rank, 1)
        before = (other > mine) | ((other == mine) & (other_rank < my_rank))
        order = tl.sum(before.to(tl.int32), 1)
        tl.store(kept_row + order, found)
        tl.debug_barrier()
        kept = tl.load(kept_row + rank)
        top_p = tl.load(ints_at + _TOP_P).to(tl.float32, bitcast=True) * total
        kept = tl.where((rank < top_k) & ((tl.cumsum(kept, 0) - kept < top_p) | (rank == 0)), kept, 0.0)
        place = _invert(kept, rank, first)
        token = tl.sum(tl.where(order == place, found_ids, 0), 0)
        if top_k == 0:
            token = _invert(weights, ids, first)

        place = tl.arange(0, HISTORY)
        age = (draws + (2 * HISTORY - 1) - place) % HISTORY
        window = tl.load(ints_at + _WINDOW)
        history = tl.load(history_at + slot * HISTORY + place)
        times = tl.sum(((age < window) & (history == token)).to(tl.int32), 0)
        if (window > 0) & (times >= tl.load(ints_at + _REPEATS)):
            token = _invert(tl.where(ids == token, 0.0, weights), ids, second)
        if interleaved & (draws == tl.load(ints_at + _FILL_AT)):
            token = fill_id

        over = (token >= eos_id) | (draws + 1 >= tl.load(ints_at + _MOST)) | (finite == 0)
        tl.store(ints_at + _ACTIVE, 1 - over.to(tl.int32))
        tl.store(ints_at + _DRAWS, draws + 1)
        tl.store(ints_at + _RUN, tl.where(token == last, run + 1, 1))
        silent = tl.load(silent_at + token) > 0
        tl.store(ints_at + _SILENT_RUN, tl.where(silent, silent_run + 1, 0))
        tl.store(ints_at + _LAST, token)
        tl.store(history_at + slot * HISTORY + draws % HISTORY, token)
        tl.store(lengths_at + slot, tl.load(lengths_at + slot) + 1)
        e = tl.arange(0, E)
        embedded = tl.load(embeddings_at + token.to(tl.int64) * size + e, e < size, 0.0)
        tl.store(inputs_at + slot * size + e, embedded, e < size)
        tl.store(out_at + row, tl.where(finite, token, _FAILED))
    else:
        tl.store(out_at + row, _IDLE)


@triton.jit
def _invert(weights, index, uniform):
    """The first index whose running sum exceeds that fraction of the whole; one of positive weight."""
    running = tl.cumsum(weights, 0)
    found = tl.sum((running <= uniform * tl.max(running, 0)).to(tl.int32), 0)
    return tl.minimum(found, tl.max(tl.where(weights > 0, index, 0), 0))
