"""Which stream has which slot, and what each slot does next. Knows no tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mamtra.engine.request import Inputs, Segment, TokenStream
from mamtra.errors import MamTraError
from mamtra.models.kinds import SPEECH, TEXT

Phase = Literal["prefill", "fed", "decode", "paused"]
NAMES = {TEXT: "text id", SPEECH: "speech token"}
MOST_TOGETHER = 4096
"""Inputs, padding included, of streams that are fed together."""


@dataclass(eq=False)
class Running:
    """A stream in its slot.

    Attributes:
        stream: the client's end.
        slot: its slot.
        phase: ``prefill`` while inputs are to be fed, ``fed`` when the last of them are on their way, ``decode``, or ``paused``
            while its text has not arrived.
        segment: whose inputs are fed or whose rules hold.
        fed: inputs of the segment that were fed.
        length: positions in the slot.
        drawn: ids of the request, ``fill`` included.
        most: draws at most.
    """

    stream: TokenStream
    slot: int
    phase: Phase = "paused"
    segment: Segment | None = None
    fed: int = 0
    length: int = 0
    drawn: list[int] = field(default_factory=list)
    most: int = 0

    @property
    def draws(self) -> int:
        """Their number."""
        return len(self.drawn)


class Scheduler:
    """First come, first served; every decoding stream takes part in every step, and prefills take turns between the steps.

    Args:
        slots: of the pool.
        capacity: positions of a slot.
        most_waiting: streams that may wait for a slot.
        known: ids that the model has, by kind of input.
    """

    def __init__(self, slots: int, capacity: int, most_waiting: int, known: Mapping[int, int]) -> None:
        self.capacity, self.most_waiting, self._known = capacity, most_waiting, known
        self.free = list(range(slots))[::-1]
        self.waiting: deque[tuple[TokenStream, Segment | None]] = deque()
        self.running: list[Running] = []
        self._prefills: deque[Running] = deque()

    def add(self, stream: TokenStream) -> None:
        """Take a stream in.

        Raises:
            MamTraError: it cannot fit into a slot, or too many wait already.
        """
        if len(self.waiting) >= self.most_waiting:
            raise MamTraError(
                f"{len(self.waiting)} requests wait already, and this engine lets at most {self.most_waiting} wait; try later."
            )
        request = stream.request
        segment = request.layout.take(0)
        if segment is not None:
            self.check(segment, request.prefix.length if request.prefix else 0, 0)
        self.waiting.append((stream, segment))

    def check(self, segment: Segment, length: int, draws: int) -> int:
        """Draws that a request may have in all; a stream that has begun is cut where its slot ends.

        Raises:
            MamTraError: the segment does not fit behind so many positions, or has an id that the model does not know.
        """
        for kind, number in segment.inputs:
            if not 0 <= number < self._known.get(kind, number + 1):
                raise MamTraError(
                    f"This request has the {NAMES[kind]} {number}, but the model's are 0 to {self._known[kind] - 1}."
                )
        # the last token is never fed
        room = self.capacity - length - len(segment.inputs) + 1
        wanted = segment.most - draws
        if room < 1 or (draws == 0 and segment.most >= 0 and wanted > room):
            most = f" and at most {wanted} tokens" if segment.most >= 0 else ""
            raise MamTraError(
                f"This request needs {length + len(segment.inputs)} positions for its inputs{most}, but a stream of this engine "
                f"has {self.capacity}: shorten the text or make the engine with a larger capacity."
            )
        return min(segment.most, draws + room) if segment.most >= 0 else draws + room

    def admit(self) -> list[Running]:
        """Give free slots to those who have waited longest."""
        new = []
        while self.free and self.waiting:
            stream, segment = self.waiting.popleft()
            run = Running(stream, self.free.pop())
            run.length = stream.request.prefix.length if stream.request.prefix else 0
            self.running.append(run)
            if segment is not None:
                self.feed(run, segment)
            new.append(run)
        return new

    def feed(self, run: Running, segment: Segment) -> None:
        """Let a stream take in a segment.

        Raises:
            MamTraError: it does not fit.
        """
        run.most = self.check(segment, run.length, run.draws)
        run.segment, run.fed, run.phase = segment, 0, "prefill"
        self._prefills.append(run)

    def next_prefill(self, most: int) -> tuple[Running, Inputs] | None:
        """The next stream to prefill and its next inputs but the last of a segment, which the first decode step feeds."""
        while self._prefills:
            run = self._prefills.popleft()
            if run.phase != "prefill" or run.segment is None:
                continue
            chunk = run.segment.inputs[run.fed : min(run.fed + most, len(run.segment.inputs) - 1)]
            run.fed += len(chunk)
            if run.fed + 1 < len(run.segment.inputs):
                self._prefills.append(run)
            else:
                run.phase = "fed"
            return run, chunk
        return None

    def next_new(self, most: int, count: int) -> list[tuple[Running, Inputs]]:
        """The next streams to prefill, as long as they have no positions yet and so few inputs that one call takes them in."""
        found: list[tuple[Running, Inputs]] = []
        longest = 0
        while self._prefills and len(found) < count:
            run = self._prefills[0]
            if run.phase == "prefill":
                longest = max(longest, len(run.segment.inputs))
                too_many = bool(found) and (len(found) + 1) * longest > MOST_TOGETHER
                if run.length or not 2 <= len(run.segment.inputs) <= most + 1 or too_many:
                    break
            self._prefills.popleft()
            if run.phase == "prefill":
                run.fed, run.phase = len(run.segment.inputs) - 1, "fed"
                found.append((run, run.segment.inputs[:-1]))
        return found

    @property
    def beginning(self) -> int:
        """Streams whose inputs are to be fed."""
        return len(self._prefills)

    def decoding(self) -> list[Running]:
        """Streams of the next step."""
        return [run for run in self.running if run.phase == "decode"]

    def leave(self, run: Running) -> None:
        """Free the slot of a stream."""
        run.phase = "paused"
        self.running.remove(run)
        self.free.append(run.slot)
