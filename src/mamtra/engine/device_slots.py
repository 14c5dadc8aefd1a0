"""Streams in one pool of memory, decoded side by side by one step that contains the sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mamtra.engine.decode_step import DecodeStep
from mamtra.engine.decode_weights import DecodeWeights
from mamtra.engine.prefill import Prefill
from mamtra.engine.request import Inputs, Request, Segment
from mamtra.engine.slot_table import SlotTable
from mamtra.engine.slots import Fed
from mamtra.engine.state_pool import PoolSnapshot, StatePool, fingerprint
from mamtra.engine.step_runner import StepRunner
from mamtra.models.scaled_linear import scale_weights
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.decode_types import WeightType

TOGETHER = 16
"""Streams whose inputs are fed at once."""


class DeviceSlots:
    """See `mamtra.engine.slots.Slots`; arguments are those of `mamtra.engine.engine.Engine`."""

    restores = True

    def __init__(
        self,
        lm: SpeechLM,
        *,
        slots: int,
        capacity: int,
        deterministic: bool,
        silent_ids: tuple[int, ...],
        ssm_dtype: torch.dtype,
        graphs: bool,
        weight_type: WeightType | None = None,
    ) -> None:
        self.model = fingerprint(lm.config, lm.head_weight)
        if weight_type is not None:
            scale_weights(lm, weight_type)
            self.model += f"-{weight_type}"
        weights = DecodeWeights.of(lm)
        device, dtype = weights.head.device, weights.head.dtype
        self._lm, self._device = lm, device
        self.lag = 1 if device.type == "cuda" else 0
        # rounding differs between batch sizes
        self.together = 1 if deterministic else TOGETHER
        self.pool = StatePool(lm.config, slots, capacity, device, dtype, ssm_dtype, self.model)
        self.table = SlotTable(lm.config, slots, device, dtype, silent_ids)
        step = DecodeStep(weights, self.pool, self.table, StepRunner.widest(slots))
        self._prefill = Prefill(lm, self.pool, graphs)
        self._step = StepRunner(step, self.table, slots, deterministic=deterministic, graphs=graphs)

    def start(self, slot: int, request: Request) -> None:
        """See `Slots.start`."""
        if request.prefix is None:
            self.pool.clear(slot)
        else:
            self.pool.restore(slot, request.prefix)
        self.table.start(slot, request.seed, request.sampling)

    def feed(self, streams: Sequence[Fed]) -> None:
        """See `Slots.feed`."""
        self._prefill(streams)

    def begin(self, slot: int, segment: Segment, most: int) -> None:
        """See `Slots.begin`."""
        kind, ids = torch.tensor(segment.inputs[-1:]).T[:, None].to(self._lm.model.embed_tokens.weight.device)
        self.table.begin(slot, segment, most, self._lm.embed(kind, ids)[0, 0])

    def step(self, slots: Sequence[int]) -> Callable[[], list[int]]:
        """See `Slots.step`."""
        return self._step(slots)

    def stop(self, slot: int) -> None:
        """See `Slots.stop`."""
        self.table.stop(slot)

    def warm_up(self, inputs: int) -> None:
        """See `Slots.warm_up`."""
        if self._device.type == "cuda":
            self._step.warm_up()
            self._prefill.warm_up(inputs, self.together)

    def memory(self) -> tuple[int, int]:
        """See `Slots.memory`; all slots are taken at the start."""
        return self.pool.kv.nbytes, self.pool.conv.nbytes + self.pool.ssm.nbytes

    def snapshot(self, slot: int, inputs: Inputs) -> PoolSnapshot:
        """See `Slots.snapshot`."""
        self.pool.clear(slot)
        self.feed([Fed(slot, 0, inputs)])
        return self.pool.snapshot(slot, len(inputs))
