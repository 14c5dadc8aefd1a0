"""Segments decoded side by side, so that the language model reads its weights once for a token of each."""

from __future__ import annotations

from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Event

import numpy as np

from mamtra.light.lm_state import LMRows
from mamtra.light.run import LightRun, start_run
from mamtra.runtime.allocator import give_back
from mamtra.synthesis.pipeline import Request
from mamtra.synthesis.retries import TokenRun

ROWS = 4
"""Segments at a time; a step of four takes little longer than a step of one."""


class Decoder:
    """Runs of the LM on a thread of its own, `ROWS` at a time, each as if it were alone."""

    def __init__(self) -> None:
        self._pool, self._stop = ThreadPoolExecutor(1, "mamtra-lm"), Event()
        self._waiting, self._active = deque[_Segment](), list[_Segment]()
        self._rows: LMRows | None = None

    def submit(self, request: Request, ids: list[int], index: int) -> Future[TokenRun | None]:
        """Decode a segment by its place in the text; the run that is kept, None where it stays silent."""
        segment = _Segment(request, ids, index)
        self._waiting.append(segment)
        self._pool.submit(self._work)
        return segment.kept

    def close(self) -> None:
        """End all runs at their next token; who waits for one is told `CancelledError`."""
        self._stop.set()
        while (segment := self._next()) is not None:
            segment.kept.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> _Segment | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _work(self) -> None:
        """Decode until nothing is left."""
        while not self._stop.is_set():
            while len(self._active) < ROWS and (segment := self._next()) is not None:
                if segment.kept.set_running_or_notify_cancel():
                    self._begin(segment)
            if not self._active:
                if self._rows is not None:  # while flow and vocoder take memory, there is none for what is over
                    self._rows = None
                    give_back()
                return
            try:
                self._step()
            except Exception as error:
                for segment in self._active:
                    segment.kept.set_exception(error)
                self._active.clear()
        for segment in self._active:
            segment.kept.set_exception(CancelledError())
        self._active.clear()

    def _step(self) -> None:
        logits = self._rows.step(np.concatenate([segment.inputs for segment in self._active]))
        for row, segment in reversed(list(enumerate(self._active))):
            segment.run.state().ran()
            segment.run.take(logits[row])
            if segment.goes_on():
                continue
            again = segment.finish()
            last = self._active.pop()
            if last is not segment:
                last.run.state().move(self._rows, row)
                self._active[row] = last
            self._rows.used = len(self._active)
            if again:
                self._begin(segment)

    def _begin(self, segment: _Segment) -> None:
        """Start a run: its inputs and first token alone, then in a row beside the others."""
        try:
            while not segment.start():
                if not segment.finish():
                    return
            self._place(segment)
        except Exception as error:
            segment.kept.set_exception(error)

    def _place(self, segment: _Segment) -> None:
        state = segment.run.state()
        if not (self._active or self._waiting):  # a segment that is alone stays in its own row
            self._rows = state.rows
        elif self._rows is None or self._rows.capacity < state.capacity or self._rows.count < ROWS:
            capacity = max(state.capacity, *(other.run.state().capacity for other in self._active), 0)
            rows = LMRows(segment.request.model.lm, ROWS, capacity)
            for row, other in enumerate(self._active):
                other.run.state().move(rows, row)
            self._rows = rows
        if state.rows is not self._rows:
            state.move(self._rows, len(self._active))
        self._active.append(segment)
        self._rows.used = len(self._active)


class _Segment:
    """A segment on its way, with the runs that were made of it."""

    def __init__(self, request: Request, ids: list[int], index: int) -> None:
        self.request, self.ids, self.index = request, ids, index
        self.kept: Future[TokenRun | None] = Future()
        self.run: LightRun
        self.inputs: np.ndarray | None = None
        self._runs: list[TokenRun] = []

    def start(self) -> bool:
        """Begin a run; whether it goes on after its first token."""
        attempt = len(self._runs)
        read = self.request.reading(self.ids, attempt).ids
        self.run = start_run(self.request, read, self.request.seed_of(self.index, attempt))
        next(self.run, None)
        return self.goes_on()

    def goes_on(self) -> bool:
        """Whether the run has a next token, for which `inputs` are to be taken in."""
        self.inputs = self.run.wanted()
        return self.inputs is not None

    def finish(self) -> bool:
        """Take a run that has ended; whether another one is to follow."""
        run, retries = self.run, self.request.retries
        attention, attempt = run.attention() if self.request.checks(self.ids) else None, len(self._runs)
        found = self.request.cover(self.ids, attention, attempt)
        self._runs.append(TokenRun(run.tokens, str(run.finish_reason), attempt, *found))
        if not retries.accepts(self._runs[-1]) and len(self._runs) < retries.attempts:
            return True
        try:
            self.kept.set_result(retries.best(self._runs))
        except Exception as error:
            self.kept.set_exception(error)
        return False
