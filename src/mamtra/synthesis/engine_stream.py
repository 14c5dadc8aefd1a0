"""A stream of a `mamtra.synthesis.hop_engine.HopEngine`, as its client sees it."""

from __future__ import annotations

import queue
import time

import numpy as np

from mamtra.acoustic.hop_rows import HopRow
from mamtra.acoustic.hop_sizes import HopSizes
from mamtra.engine.turns import Turns
from mamtra.errors import MamTraError
from mamtra.voices.voice import Voice


class EngineStream:
    """Speech tokens of one segment to samples, used as `mamtra.synthesis.streaming.SegmentStream` is, from one thread.

    Args:
        turns: of the engine.
        voice: to speak with.
        rest: tokens of the voice's prompt that the stream itself computes.
        sizes: of the hops.
        seed: of the vocoder's noise.

    Attributes:
        voice: see above.
        seed: see above.
        row: its place in the engine's memory, from the moment it has one.
        closed: whether its client has gone.
        ended: whether it has no place any more.
        since: when it had the tokens of its next hop.
    """

    row: HopRow

    def __init__(self, turns: Turns, voice: Voice, rest: list[int], sizes: HopSizes, seed: int) -> None:
        self.voice, self.seed, self._turns, self._sizes = voice, seed, turns, sizes
        self.closed = self.ended = False
        self._left = (rest, False)  # tokens that no hop has taken yet, and whether no others will come
        self._made: list[np.ndarray] = []
        self._given, self._began, self.since = 0, 0.0, 0.0
        self._arrived: queue.SimpleQueue[np.ndarray | str] = queue.SimpleQueue()

    @property
    def wanted(self) -> int:
        """How many tokens to push next."""
        return max(0, self._sizes.chunk + self._sizes.lookahead - len(self._left[0]))

    @property
    def heard(self) -> bool:
        """Whether there was audio."""
        return self._given > 0

    @property
    def ready(self) -> bool:
        """Whether a hop can be computed."""
        tokens, final = self._left
        return not self.ended and (final or len(tokens) >= self._sizes.chunk + self._sizes.lookahead)

    def push(self, tokens: list[int], final: bool = False) -> np.ndarray:
        """Add tokens and get the samples (T,) that no later token can change, perhaps none; waits for them.

        Raises:
            MamTraError: the engine was closed, the voice does not fit into its memory, or the samples are not numbers.
        """
        self._began = self._began or time.monotonic()
        self._left = (self._left[0] + tokens, final)
        if not self.ready and self._arrived.empty():
            return np.zeros(0, np.float32)
        self.since = time.monotonic()
        self._turns.wake()
        self._turns.wait_for(self._arrived)
        found = self._arrived.get()
        if isinstance(found, str):
            raise MamTraError(found)
        return found

    def close(self) -> None:
        """End the stream; may be called more than once, and after its end."""
        self.closed = True
        self._turns.wake()

    def slack(self, now: float, rate: int) -> float:
        """Seconds until its listener has heard everything, if it began to listen when the stream was first ready."""
        return self._given / rate - (now - self._began)

    def take(self) -> tuple[list[int], bool]:
        """What the next hop is given: all tokens that are left, of which it takes a chunk, and whether no others will come."""
        tokens, final = self._left
        self._left = (tokens[self._sizes.chunk :], final)
        return tokens, final

    def give(self, samples: np.ndarray) -> None:
        """Samples of a hop; the client gets them when no further hop can be computed."""
        self._made.append(samples)
        self._given += len(samples)
        if not self.ready:
            made, self._made = self._made, []
            self._arrived.put(made[0] if len(made) == 1 else np.concatenate(made))

    def fail(self, error: str) -> None:
        """End the stream with an error."""
        self.ended = True
        self._arrived.put(error)
