"""What a batcher asks of the slots of its streams, on a GPU (`device_slots`) and elsewhere (`host_slots`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from mamtra.engine.request import Inputs, Request, Segment

IDLE, FAILED = -1, -2
"""What a step reports in place of a token: the row was not active; its logits were not finite."""


class Snapshot(Protocol):
    """The state behind some inputs, to start any number of streams from.

    Attributes:
        length: inputs that it has taken in.
        model: fingerprint of the model.
    """

    @property
    def length(self) -> int: ...

    @property
    def model(self) -> str: ...

    @property
    def bytes(self) -> int:
        """Memory of the state."""


class Fed(NamedTuple):
    """Inputs of one stream.

    Attributes:
        slot: of the stream.
        before: inputs and tokens that it has taken in already.
        inputs: the next.
    """

    slot: int
    before: int
    inputs: Inputs


class Begun(NamedTuple):
    """A stream all inputs of which but the last of a segment were fed.

    Attributes:
        slot: of the stream.
        segment: by whose rules it is decoded.
        most: draws of the request at most.
    """

    slot: int
    segment: Segment
    most: int


class Slots(Protocol):
    """States and samplers of a fixed number of streams.

    Attributes:
        model: fingerprint of the model, for snapshots.
        lag: steps that may be under way before their tokens are read.
        together: streams that begin and that `feed` takes at once.
        settled: whether `begin` would wait for nothing: a GPU feeds streams that begin beside the steps of others.
        restores: whether prompts are restored from snapshots unasked: where rounding differs between chunks, this changes samples.
    """

    model: str
    lag: int
    together: int
    restores: bool

    @property
    def settled(self) -> bool: ...

    def start(self, requests: Sequence[tuple[int, Request]]) -> None:
        """Make slots ready for new requests."""

    def feed(self, streams: Sequence[Fed]) -> None:
        """Take in inputs of one stream, or of several without any before."""

    def begin(self, streams: Sequence[Begun]) -> None:
        """Decode these streams from the next step on."""

    def step(self, slots: Sequence[int]) -> Callable[[], list[int]]:
        """Draw a token for each slot; the result waits for them. `IDLE` and `FAILED` stand for none."""

    def stop(self, slot: int) -> None:
        """Take a slot out of all steps that begin later."""

    def warm_up(self, inputs: int) -> None:
        """Capture the graphs of a GPU for steps of any number of streams, and for streams that begin with up to so many inputs."""

    def memory(self) -> tuple[int, int]:
        """Bytes taken for keys and values, and for other states."""

    def snapshot(self, slot: int, inputs: Inputs) -> Snapshot:
        """The state behind some inputs, made in a free slot."""
