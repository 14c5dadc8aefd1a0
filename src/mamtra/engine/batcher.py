"""Continuous batching without a thread: streams join, decode side by side and leave, one turn after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mamtra.engine.decode_step import DecodeStep
from mamtra.engine.decode_weights import DecodeWeights
from mamtra.engine.request import Inputs, Request, TokenStream
from mamtra.engine.scheduler import Running, Scheduler
from mamtra.engine.slot_table import FAILED, IDLE, SlotTable
from mamtra.engine.state_pool import Snapshot, StatePool, fingerprint
from mamtra.engine.step_runner import StepRunner
from mamtra.errors import MamTraError
from mamtra.models.speech_lm import SpeechLM


class _Flight(NamedTuple):
    """A step whose tokens are on their way to the host."""

    rows: list[Running]
    tokens: Callable[[], list[int]]


class Batcher:
    """The engine's work, see `mamtra.engine.engine.Engine`, whose arguments these are; call `turn` until it returns False."""

    def __init__(
        self,
        lm: SpeechLM,
        *,
        slots: int,
        capacity: int,
        deterministic: bool,
        most_waiting: int,
        prefill_chunk: int,
        silent_ids: tuple[int, ...],
        ssm_dtype: torch.dtype,
        graphs: bool,
    ) -> None:
        weights = DecodeWeights.of(lm)
        device, dtype = weights.head.device, weights.head.dtype
        self.lm, self.device = lm, device
        model = fingerprint(lm.config, weights.head)
        self.pool = StatePool(lm.config, slots, capacity, device, dtype, ssm_dtype, model)
        self.table = SlotTable(lm.config, slots, device, dtype, silent_ids)
        step = DecodeStep(weights, self.pool, self.table, StepRunner.widest(slots))
        self.step = StepRunner(step, self.table, slots, deterministic=deterministic, graphs=graphs)
        self.scheduler = Scheduler(slots, capacity, most_waiting)
        self.prefill_chunk, self._eos, self._fill = prefill_chunk, lm.config.eos_id, lm.config.fill_id
        self._flights: deque[_Flight] = deque()
        self._lag = 1 if device.type == "cuda" else 0

    def submit(self, request: Request, wake: Callable[[], None]) -> TokenStream:
        """Take in a request.

        Raises:
            MamTraError: it cannot fit, its snapshot is of another model, or too many wait.
        """
        if request.prefix is not None and request.prefix.model != self.pool.model:
            raise MamTraError("This snapshot was made with another model; make it again with this one.")
        stream = TokenStream(request, wake)
        self.scheduler.add(stream)
        return stream

    @torch.inference_mode()
    def turn(self) -> bool:
        """Leave, join, one chunk of a prefill, one decode step; False when there was nothing to do."""
        busy = self._drop_cancelled()
        for run in self.scheduler.admit():
            self._start(run)
            busy = True
        for run in self.scheduler.running:
            if run.phase == "paused":
                busy |= self._resume(run)
        busy |= self._prefill()
        rows = self.scheduler.decoding()
        if rows:
            self._flights.append(_Flight(rows, self.step([run.slot for run in rows])))
        while len(self._flights) > (self._lag if rows else 0):
            self._collect(self._flights.popleft())
            busy = True
        return busy or bool(rows)

    @torch.inference_mode()
    def snapshot(self, inputs: Inputs) -> Snapshot:
        """The state behind some inputs.

        Raises:
            MamTraError: no slot is free just now, or the inputs are longer than one.
        """
        if not self.scheduler.free:
            raise MamTraError("Every stream of the engine is in use; take snapshots before, or with more streams.")
        if len(inputs) >= self.pool.capacity:
            raise MamTraError(f"{len(inputs)} inputs do not fit into a stream of {self.pool.capacity} positions.")
        slot = self.scheduler.free[-1]
        self.pool.clear(slot)
        self._feed(slot, 0, inputs)
        return self.pool.snapshot(slot, len(inputs))

    def fail(self, error: str) -> None:
        """End all streams with an error."""
        self._flights.clear()
        for run in list(self.scheduler.running):
            self._end(run, "error", error)
        while self.scheduler.waiting:
            self.scheduler.waiting.popleft()[0]._finish("error", error)

    def _start(self, run: Running) -> None:
        request = run.stream.request
        if request.prefix is None:
            self.pool.clear(run.slot)
        else:
            self.pool.restore(run.slot, request.prefix)
        self.table.start(run.slot, request.seed, request.sampling)

    def _resume(self, run: Running) -> bool:
        """Feed a paused stream what has arrived."""
        segment = run.stream.request.layout.take(run.draws)
        if segment is None:
            return False
        try:
            self.scheduler.feed(run, segment)
        except MamTraError as error:
            self._end(run, "error", str(error))
        return True

    def _prefill(self) -> bool:
        found = self.scheduler.next_prefill(self.prefill_chunk)
        if found is None:
            return False
        run, chunk = found
        if chunk:
            self._feed(run.slot, run.length, chunk)
            run.length += len(chunk)
        if run.phase == "decode":
            if run.most <= run.draws:
                self._end(run, "length")
                return True
            self.table.begin(run.slot, run.segment, run.most, self._embed(run.segment.inputs[-1:])[0, 0])
        return True

    def _feed(self, slot: int, length: int, inputs: Inputs) -> None:
        state = self.pool.open(slot, length)
        self.lm(self._embed(inputs), state)
        self.pool.close(slot, state)

    def _embed(self, inputs: Inputs) -> Tensor:
        kind, ids = torch.tensor(inputs).T[:, None].to(self.device)
        return self.lm.embed(kind, ids)

    def _collect(self, flight: _Flight) -> None:
        for run, token in zip(flight.rows, flight.tokens(), strict=True):
            if token == IDLE or run.phase != "decode" or run.stream.finish_reason is not None:
                continue
            run.length += 1
            run.draws += 1
            if token == FAILED:
                self._end(run, "error", "The model's logits for this request were not finite numbers.")
            elif token == self._fill and run.segment.interleaved:
                run.phase = "paused"
            elif token >= self._eos:
                self._end(run, "eos")
            else:
                run.stream.request.layout.drawn(token)
                run.stream._put(token)
                if run.draws >= run.most:
                    self._end(run, "length")

    def _drop_cancelled(self) -> bool:
        gone = [run for run in self.scheduler.running if run.stream.cancelled]
        for run in gone:
            self._end(run, "cancelled")
        waiting = self.scheduler.waiting
        for item in [item for item in waiting if item[0].cancelled]:
            waiting.remove(item)
            item[0]._finish("cancelled")
        return bool(gone)

    def _end(self, run: Running, reason: str, error: str | None = None) -> None:
        self.table.stop(run.slot)
        self.scheduler.leave(run)
        run.stream._finish(reason, error)
