"""What an engine holds at a moment. Knows no tensors, so that every runtime can tell it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineStats:
    """Runs of the language model and their memory.

    Attributes:
        running: runs that are being decoded.
        waiting: runs that wait for a slot.
        kv_bytes: memory taken for keys and values.
        state_bytes: memory taken for convolution and SSM states.
        guarded: draws so far from which a guard has kept a token, see `mamtra.models.sampling_config.GuardConfig`.
    """

    running: int = 0
    waiting: int = 0
    kv_bytes: int = 0
    state_bytes: int = 0
    guarded: int = 0
