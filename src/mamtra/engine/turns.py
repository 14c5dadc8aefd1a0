"""Who makes the turns of a batcher: a thread of its own, or the clients that wait for tokens."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Protocol

import torch

from mamtra.runtime.explain import explain

FIRST = -2
"""Priority on a GPU of steps of the language model."""


class Work(Protocol):
    """What is done in turns: `mamtra.engine.batcher.Batcher`, `mamtra.synthesis.hop_turns.HopTurns`.

    Attributes:
        again: seconds after which there is something to do even if nothing happens; None where there is not.
    """

    again: float | None

    def turn(self) -> bool:
        """Do the next part; False when there was nothing to do."""

    def fail(self, error: str) -> None:
        """End all streams with an error."""


class Turns(Protocol):
    """Makes turns while there is work; ends with `close`."""

    def wake(self) -> None:
        """There may be work: a request, more text, or a stream that was cancelled."""

    def wait_for(self, arrived: queue.SimpleQueue) -> None:
        """Called by a client before it takes from the queue of its stream."""

    def pause(self) -> AbstractContextManager:
        """No turn is made meanwhile; on a GPU the caller launches on the stream of the turns."""

    def close(self) -> None:
        """End all streams; may be called more than once."""


class WorkerTurns:
    """A thread makes the turns, so that a GPU never waits for a client; there it has a stream of its own.

    Args:
        batcher: whose turns they are.
        device: on which it decodes.
        first: its kernels go before those of others on the GPU.
    """

    def __init__(self, batcher: Work, device: torch.device, *, first: bool = False) -> None:
        self._batcher, self._device = batcher, device
        self._stream = torch.cuda.Stream(device, FIRST if first else 0) if device.type == "cuda" else None
        if self._stream is not None:  # what the work holds was made on the current one
            self._stream.wait_stream(torch.cuda.current_stream(device))
        self._work, self._turn = threading.Event(), threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="mamtra-engine", daemon=True)
        self._thread.start()
        # a thread that is in the middle of a turn while the interpreter ends aborts the process
        atexit.register(self.close)

    def wake(self) -> None:
        """See `Turns.wake`."""
        self._work.set()

    def wait_for(self, arrived: queue.SimpleQueue) -> None:
        """The queue itself blocks."""

    @contextmanager
    def pause(self) -> Iterator[None]:
        """See `Turns.pause`."""
        with self._turn, self._on_stream():
            yield

    def close(self) -> None:
        """See `Turns.close`."""
        atexit.unregister(self.close)
        self._closed = True
        self._work.set()
        self._thread.join()

    def _run(self) -> None:
        with self._on_stream():
            self._loop()
            if self._stream is not None:
                with suppress(RuntimeError):  # a device after a fault
                    self._stream.synchronize()  # the memory is given to others

    def _on_stream(self) -> AbstractContextManager:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _loop(self) -> None:
        while True:
            self._work.wait(self._batcher.again)
            self._work.clear()
            busy = True
            while busy and not self._closed:
                with self._turn:
                    busy = _turn(self._batcher)
            if self._closed:
                self._batcher.fail(CLOSED)
                return


class ClientTurns:
    """Clients make the turns while they wait, one at a time and each for all streams.

    On a CPU a second thread would take the cores from the client that turns the first tokens into sound.

    Args:
        batcher: whose turns they are.
    """

    def __init__(self, batcher: Work) -> None:
        self._batcher = batcher
        # re-entrant: a stream that is collected as garbage in a turn cancels itself
        self._changed = threading.Condition()
        self._closed = False

    def wake(self) -> None:
        """See `Turns.wake`."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, arrived: queue.SimpleQueue) -> None:
        """Make turns until something has arrived."""
        while arrived.empty():
            with self._changed:
                if self._closed:
                    self._batcher.fail(CLOSED)
                elif not arrived.empty():
                    return
                elif self._make_turn():
                    self._changed.notify_all()
                elif arrived.empty():
                    self._changed.wait(self._batcher.again)

    def _make_turn(self) -> bool:
        try:
            return _turn(self._batcher)
        except BaseException:  # Ctrl-C: the streams of this turn have lost tokens
            self._batcher.fail("The engine was interrupted.")
            self._changed.notify_all()
            raise

    def pause(self) -> AbstractContextManager:
        """See `Turns.pause`."""
        return self._changed

    def close(self) -> None:
        """See `Turns.close`."""
        with self._changed:
            self._closed = True
            self._batcher.fail(CLOSED)
            self._changed.notify_all()


CLOSED = "The engine was closed."


def _turn(batcher: Work) -> bool:
    """Whether something has happened."""
    try:
        return batcher.turn()
    except Exception as error:  # in a worker nobody would see it, and it concerns all streams
        batcher.fail(explain(error) or f"The engine failed: {error}")
        return True
