"""What the sampler knows of every slot, as one small table on the device."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mamtra.engine.request import MOST_WINDOW, Sampling, Segment

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

    def start(self, slot: int, seed: int, sampling: Sampling) -> None:
        """Make a slot ready for a new request; it stays inactive until its first segment."""
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
        self.ints[slot] = self._row(row)
        self.history[slot] = -1

    def begin(self, slot: int, segment: Segment, most: int, embedded: Tensor) -> None:
        """Let a slot decode by the rules of a segment.

        Args:
            slot: the slot.
            segment: its rules.
            most: draws of the request at most.
            embedded: (hidden_size,), the last input of the segment.
        """
        self.inputs[slot] = embedded
        rules = [segment.least, most, int(segment.interleaved), segment.fill_at]
        self.ints[slot, RULES] = self._row(rules)
        self.ints[slot, ACTIVE] = 1

    def stop(self, slot: int) -> None:
        """Take a slot out of all steps that begin later."""
        self.ints[slot, ACTIVE] = 0

    def _row(self, values: list[int]) -> Tensor:
        row = torch.tensor(values, dtype=torch.int32)
        if self.ints.device.type == "cuda":
            row = row.pin_memory()
        return row.to(self.ints.device, non_blocking=True)


def _bits(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]
