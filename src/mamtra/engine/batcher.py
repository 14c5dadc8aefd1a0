"""Continuous batching without a thread: streams join, decode side by side and leave, one turn after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch

from mamtra.engine.request import Inputs, TokenStream
from mamtra.engine.scheduler import Running, Scheduler
from mamtra.engine.slots import FAILED, IDLE, Begun, Fed, Slots, Snapshot
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.kinds import SPEECH, TEXT

GATHER = 10
"""Steps between two calls that take in the inputs of streams that begin, while as many others or more are decoded."""


class _Flight(NamedTuple):
    """A step whose tokens are on their way to the host."""

    rows: list[Running]
    tokens: Callable[[], list[int]]


class Batcher:
    """The engine's work; call `turn` until it returns False. Only `submit` may be called during a turn.

    Args:
        config: of the model.
        held: states of the streams.
        slots: their number.
        capacity: positions of a stream.
        most_waiting: streams that may wait for a slot.
        prefill_chunk: inputs that are fed between two steps.
        silent_ids: speech tokens that are silence.

    Attributes:
        guarded: draws from which a guard has kept an id.
    """

    again = None

    def __init__(
        self,
        config: SpeechLMConfig,
        held: Slots,
        slots: int,
        capacity: int,
        most_waiting: int,
        prefill_chunk: int,
        silent_ids: tuple[int, ...] = (),
    ) -> None:
        self.held, self.capacity = held, capacity
        known = {TEXT: config.text_vocab_size, SPEECH: config.speech_vocab_size}
        self.scheduler = Scheduler(slots, capacity, most_waiting, known)
        self.prefill_chunk, self._eos, self._fill = prefill_chunk, config.eos_id, config.fill_id
        self._silent, self.guarded = frozenset(silent_ids), 0
        self._flights: deque[_Flight] = deque()
        self._fed: list[Running] = []  # whose inputs are on their way
        self._steps = 0  # since inputs were fed

    def submit(self, stream: TokenStream) -> None:
        """Take in a request.

        Raises:
            MamTraError: it cannot fit, has ids that the model does not know, its snapshot is of another model, or too many wait.
        """
        prefix = stream.request.prefix
        if prefix is not None and prefix.model != self.held.model:
            raise MamTraError("This snapshot was made with another model or engine; make it again with this one.")
        if prefix is not None:
            stream.request.layout.skip(prefix.length)
        self.scheduler.add(stream)

    @torch.inference_mode()
    def turn(self) -> bool:
        """Leave, join, one chunk of a prefill, one decode step; False when there was nothing to do."""
        busy = self._drop_cancelled()
        if new := self.scheduler.admit():
            self.held.start([(run.slot, run.stream.request) for run in new])
            busy = True
        for run in list(self.scheduler.running):
            if run.phase == "paused":
                busy |= self._resume(run)
        busy |= self._prefill()
        rows = self.scheduler.decoding()
        if rows:
            self._steps += 1
            self._flights.append(_Flight(rows, self.held.step([run.slot for run in rows])))
        while len(self._flights) > (self.held.lag if rows else 0):
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
        if len(inputs) >= self.capacity:
            raise MamTraError(f"{len(inputs)} inputs do not fit into a stream of {self.capacity} positions.")
        return self.held.snapshot(self.scheduler.free[-1], inputs)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Capture the graphs of a GPU."""
        self.held.warm_up(self.prefill_chunk)

    def fail(self, error: str) -> None:
        """End all streams with an error."""
        self._flights.clear()
        self._fed = []
        for run in list(self.scheduler.running):
            with suppress(Exception):  # a device after a fault takes no more orders, and the others are to be told too
                self._end(run, "error", error)
        while self.scheduler.waiting:
            self.scheduler.waiting.popleft()[0]._finish("error", error)

    def _resume(self, run: Running) -> bool:
        """Feed a paused stream what has arrived."""
        segment = run.stream.request.layout.take(run.draws)
        if segment is None:
            return run.stream._ask()
        try:
            self.scheduler.feed(run, segment)
        except MamTraError as error:
            self._end(run, "error", str(error))
        return True

    def _prefill(self) -> bool:
        busy = self._begin()
        if self._fed or self._gathers():
            return busy
        new = self.scheduler.next_new(self.prefill_chunk, self.held.together)
        if new:
            self.held.feed([Fed(run.slot, 0, inputs) for run, inputs in new])
            for run, inputs in new:
                run.length += len(inputs)
            self._steps = 0
        else:
            found = self.scheduler.next_prefill(self.prefill_chunk)
            if found is None:
                return busy
            new = [found]
            run, chunk = found
            if chunk:
                self.held.feed([Fed(run.slot, run.length, chunk)])
                run.length += len(chunk)
        self._fed = [run for run, _ in new if run.phase == "fed"]
        self._begin()
        return True

    def _gathers(self) -> bool:
        """Whether streams that begin wait for more: on a GPU a call for several takes hardly longer than one."""
        few = self.scheduler.beginning < self.held.together
        running = len(self.scheduler.decoding()) if self.held.lag else 0
        return few and self._steps < min(GATHER, running)

    def _begin(self) -> bool:
        """Decode those whose inputs were fed; while others are decoded, not before a GPU has taken the inputs in."""
        if not self._fed or (self.scheduler.decoding() and not self.held.settled):
            return False
        begun = list[Begun]()
        for run in self._fed:
            if run.phase == "fed" and run.most <= run.draws:
                self._end(run, "length")
            elif run.phase == "fed":  # it may have been cancelled
                run.phase = "decode"
                begun.append(Begun(run.slot, run.segment, run.most))
        self._fed = []
        if begun:
            self.held.begin(begun)
        return True

    def _collect(self, flight: _Flight) -> None:
        for run, token in zip(flight.rows, flight.tokens(), strict=True):
            if token == IDLE or run.phase != "decode" or run.stream.finish_reason is not None:
                continue
            forced = run.segment.interleaved and run.draws == run.segment.fill_at
            guards = run.stream.request.sampling.guards
            self.guarded += not forced and bool(guards.barred(run.drawn, self._silent))
            run.length += 1
            run.drawn.append(token)
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
        for item in [item for item in list(waiting) if item[0].cancelled]:
            waiting.remove(item)
            item[0]._finish("cancelled")
        return bool(gone)

    def _end(self, run: Running, reason: str, error: str | None = None) -> None:
        self.scheduler.leave(run)
        run.stream._finish(reason, error)
        self.held.stop(run.slot)
