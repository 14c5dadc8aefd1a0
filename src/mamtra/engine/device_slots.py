"""Streams in one pool of memory, decoded side by side by one step that contains the sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mamtra.engine.decode_step import DecodeStep
from mamtra.engine.decode_weights import DecodeWeights
from mamtra.engine.input_table import InputTable
from mamtra.engine.prefill import Prefill
from mamtra.engine.request import Inputs, Request
from mamtra.engine.slot_table import SlotTable
from mamtra.engine.slots import Begun, Fed
from mamtra.engine.state_pool import PoolSnapshot, StatePool, fingerprint
from mamtra.engine.step_runner import StepRunner
from mamtra.models.scaled_linear import scale_weights
from mamtra.models.speech_lm import SpeechLM
from mamtra.ops.decode_types import WeightType
from mamtra.runtime.device import to_device
from mamtra.runtime.side_stream import SideStream

TOGETHER = 16
"""Streams whose inputs are fed at once."""
FEED_PRIORITY = -1
"""Inputs go after the steps of streams that are being decoded, and before hops."""


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
        self._device, self._embed = device, InputTable(lm)
        self.lag = 1 if device.type == "cuda" else 0
        # rounding differs between batch sizes
        self.together = 1 if deterministic else TOGETHER
        self.pool = StatePool(lm.config, slots, capacity, device, dtype, ssm_dtype, self.model)
        self.table = SlotTable(lm.config, slots, device, dtype, silent_ids)
        step = DecodeStep(weights, self.pool, self.table, StepRunner.widest(slots))
        self._prefill = Prefill(lm, self.pool, self._embed, graphs)
        self._side = SideStream(device, FEED_PRIORITY)
        self._step = StepRunner(step, self.table, slots, deterministic=deterministic, graphs=graphs)

    def start(self, requests: Sequence[tuple[int, Request]]) -> None:
        """See `Slots.start`."""
        with self._side.beside():
            slots = self._places([slot for slot, _ in requests])
            self.pool.clear(slots)
            for slot, request in requests:
                if request.prefix is not None:
                    self.pool.restore(slot, request.prefix)
            self.table.start(slots, [(request.seed, request.sampling) for _, request in requests])

    def feed(self, streams: Sequence[Fed]) -> None:
        """See `Slots.feed`."""
        with self._side.beside():
            self._prefill(streams)

    @property
    def settled(self) -> bool:
        """See `Slots.settled`."""
        return self._side.settled

    def begin(self, streams: Sequence[Begun]) -> None:
        """See `Slots.begin`."""
        self._side.join()
        embedded = self._embed([each.segment.inputs[-1:] for each in streams], 1)[:, 0]
        rules = [(each.segment, each.most) for each in streams]
        self.table.begin(self._places([each.slot for each in streams]), rules, embedded)

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
            with self._side.beside():
                self._prefill.warm_up(inputs, self.together)

    def memory(self) -> tuple[int, int]:
        """See `Slots.memory`; all slots are taken at the start."""
        return self.pool.kv.nbytes, self.pool.conv.nbytes + self.pool.ssm.nbytes

    def snapshot(self, slot: int, inputs: Inputs) -> PoolSnapshot:
        """See `Slots.snapshot`."""
        with self._side.beside():
            self.pool.clear(self._places([slot]))
            self._prefill([Fed(slot, 0, inputs)])
            found = self.pool.snapshot(slot, len(inputs))
        self._side.join()
        return found

    def _places(self, slots: list[int]) -> Tensor:
        """(B,) int64 on the device."""
        return to_device(torch.tensor(slots), self._device)
