"""Flow streams after the prompts of voices, so that each prompt is computed once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mamtra.runtime.living import Living
from mamtra.voices.voice import Voice


class Forkable(Protocol):
    """A stream that can be continued in several ways."""

    @property
    def bytes(self) -> int:
        """Memory that it holds."""
        ...

    @property
    def offset(self) -> int:
        """Tokens whose state it holds."""
        ...

    def fork(self) -> Forkable:
        """A stream that goes on from here, and leaves this one as it is."""
        ...


S = TypeVar("S", bound=Forkable)
Key = tuple[str, int | None]
"""Digest of a prompt, and steps of the flow."""


class PromptStore(Generic[S]):
    """Streams of the voices used last. Threads may share it.

    Args:
        compute: a stream that has taken in the prompt of a voice, with a number of steps of the flow (None for the model's).
        limit: bytes to keep; the latest prompt is kept even if it is larger.
    """

    def __init__(self, compute: Callable[[Voice, int | None], S], limit: int) -> None:
        self._compute, self._limit = compute, limit
        self._lock = threading.Lock()
        self._locks: dict[Key, threading.Lock] = {}
        self._kept: OrderedDict[Key, S] = OrderedDict()
        self._forks: Living[S] = Living()

    @property
    def bytes(self) -> int:
        """Memory of the prompts, and of what the streams that continue them have added."""
        with self._lock:
            kept = list(self._kept.values())
        return sum(stream.bytes for stream in kept) + sum(
            max(0, stream.bytes - shared) for stream, shared in self._forks.all()
        )

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that is kept."""
        with self._lock:
            return max((stream.offset for stream in self._kept.values()), default=0)

    def stream_bytes(self, tokens: int, steps: int, own: int) -> int:
        """Memory of a stream of so many tokens behind the largest prompt that is kept; 0 before there is one.

        Args:
            tokens: of the stream.
            steps: of the flow, each of which has a cache.
            own: those of the model.
        """
        with self._lock:
            kept = [
                (round(stream.bytes * max(1.0, steps / (known or own))), stream.offset)
                for (_, known), stream in self._kept.items()
            ]
        of_token = max((size / offset for size, offset in kept if offset), default=0.0)
        return max((size for size, _ in kept), default=0) + round(of_token * tokens)

    def stream(self, voice: Voice, steps: int | None = None) -> S:
        """A new stream that continues the voice's prompt; who asks for another voice meanwhile does not wait."""
        key = voice.prompt_digest, steps
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = self._compute(voice, steps)
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(other.bytes for other in self._kept.values()) > self._limit:
                self._locks.pop(self._kept.popitem(last=False)[0], None)
            fork = kept.fork()
        self._forks.add(fork, kept.bytes)
        return fork
