"""What the sampler knows of every slot, as one small table on the device."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mamtra.engine.request import MOST_WINDOW, Sampling, Segment
from mamtra.runtime.device import to_device

if TYPE_CHECKING:
    from mamtra.models.config import SpeechLMConfig

(
    ACTIVE, DRAWS, LEAST, MOST, INTERLEAVED, FILL_AT, TOP_P, TOP_K, WINDOW, REPEATS, MOST_REPEATS, MOST_SILENCE,
    LAST, RUN, SILENT_RUN, SEED_LOW, SEED_HIGH, SHARPNESS,
) = range(18)  # fmt: skip
COLUMNS = 32
"""One cache line a slot; TOP_P and SHARPNESS, by which logits are multiplied, hold the bits of a float32. TOP_K is 0 where all ids
are drawn from."""
RULES = slice(LEAST, TOP_P)


class SlotTable:
    """Rules, counters and latest tokens of all slots; the sampler reads and updates them without the host.

    Attributes:
        ints: (slots + 1, COLUMNS) int32, see the names of this module.
        history: (slots + 1, 64) int32, draw number n at n % 64; -1 where nothing was drawn yet.
        inputs: (slots + 1, hidden_size), the embedded input of the next step.
        silent: (speech_vocab_size,) bool, ids that are silence.
    """

    def __init__(
        self, config: SpeechLMConfig, slots: int, device: torch.device, dtype: torch.dtype, silent_ids: tuple[int, ...]
    ) -> None:
        self.ints = torch.zeros(slots + 1, COLUMNS, dtype=torch.int32, device=device)
        self.history = torch.full((slots + 1, MOST_WINDOW), -1, dtype=torch.int32, device=device)
        self.inputs = torch.zeros(slots + 1, config.hidden_size, dtype=dtype, device=device)
        silent = torch.zeros(config.speech_vocab_size, dtype=torch.bool)
        silent[list(silent_ids)] = True
        self.silent = silent.to(device)
        self.eos_id, self.fill_id = config.eos_id, config.fill_id

    @property
    def scratch(self) -> int:
        """The slot that idle rows of a batch work on."""
        return self.ints.shape[0] - 1

    def start(self, slots: Tensor, requests: Sequence[tuple[int, Sampling]]) -> None:
        """Make slots (B,) int64 ready for new requests of these seeds; they stay inactive until their first segment."""
        rows = torch.tensor([_row(seed, sampling) for seed, sampling in requests], dtype=torch.int32)
        self.ints.index_copy_(0, slots, to_device(rows, slots.device))
        self.history.index_fill_(0, slots, -1)

    def begin(self, slots: Tensor, segments: Sequence[tuple[Segment, int]], embedded: Tensor) -> None:
        """Let slots decode by the rules of segments.

        Args:
            slots: (B,) int64.
            segments: of each slot, and draws of its request at most.
            embedded: (B, hidden_size), the last input of each segment.
        """
        self.inputs.index_copy_(0, slots, embedded)
        rules = [[each.least, most, int(each.interleaved), each.fill_at] for each, most in segments]
        self.ints[:, RULES].index_copy_(0, slots, to_device(torch.tensor(rules, dtype=torch.int32), slots.device))
        self.ints[:, ACTIVE].index_fill_(0, slots, 1)

    def stop(self, slot: int) -> None:
        """Take a slot out of all steps that begin later."""
        self.ints[slot, ACTIVE].zero_()  # the host would wait for a GPU if it assigned a number


def _row(seed: int, sampling: Sampling) -> list[int]:
    """The row of a new request."""
    ras = sampling.ras
    low, high = struct.unpack("<2i", struct.pack("<q", (seed + 2**63) % 2**64 - 2**63))
    row = [0] * COLUMNS
    row[TOP_P], row[SHARPNESS] = _bits(ras.top_p), _bits(1 / (sampling.temperature or 1.0))
    row[TOP_K], row[WINDOW] = (1, 0) if sampling.greedy else (ras.top_k, ras.win_size)
    if sampling.temperature is not None:
        row[TOP_K] = row[WINDOW] = 0
    row[REPEATS] = max(1, -int(-(ras.win_size * ras.tau_r) // 1))
    guards = sampling.guards
    row[MOST_REPEATS], row[MOST_SILENCE], row[LAST] = guards.most_repeats, guards.most_silence, -1
    row[SEED_LOW], row[SEED_HIGH] = low, high
    return row


def _bits(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]
