"""What a client of the engine hands in, and the stream of tokens it gets back."""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Literal, Protocol

from mamtra.errors import MamTraError
from mamtra.models.kinds import SOS, SPEECH, TASK, TEXT
from mamtra.models.sampling_config import DEFAULT_LENGTHS, DEFAULT_RAS, NO_GUARDS, GuardConfig, LengthConfig, RASConfig

if TYPE_CHECKING:
    from mamtra.engine.slots import Snapshot
    from mamtra.engine.turns import Turns

Inputs = list[tuple[int, int]]
"""Pairs (kind, id) as in `mamtra.models.layout`."""
FinishReason = Literal["eos", "length", "cancelled", "error"]
MOST_TOP_K = 128
MOST_WINDOW = 64


@dataclass(frozen=True)
class Sampling:
    """How the tokens of one request are chosen.

    Attributes:
        ras: repetition-aware sampling; ``top_k`` at most 128, ``win_size`` at most 64.
        greedy: always the most probable id; ``ras`` is not used.
        temperature: draw from all ids at this temperature, without ``ras``; nothing that ends may then come before a segment's
            ``least``. None for ``ras``.
        guards: limits of rows of tokens; which are silent, the engine was told.
    """

    ras: RASConfig = DEFAULT_RAS
    greedy: bool = False
    temperature: float | None = None
    guards: GuardConfig = NO_GUARDS

    def __post_init__(self) -> None:
        if self.ras.top_k > MOST_TOP_K or self.ras.win_size > MOST_WINDOW:
            raise MamTraError(
                f"The engine samples with top_k up to {MOST_TOP_K} and win_size up to {MOST_WINDOW}, "
                f"not {self.ras.top_k} and {self.ras.win_size}."
            )
        if self.temperature is not None and (self.greedy or not self.temperature > 0):
            raise MamTraError("A temperature is above 0, and greedy decoding has none.")


@dataclass(frozen=True)
class Segment:
    """Inputs to feed and the rules for the tokens that follow them.

    Attributes:
        inputs: at least one.
        interleaved: more text may follow: eos is impossible, ``fill`` asks for it.
        fill_at: number of draws of the request after which ``fill`` is forced, while interleaved.
        least: draws of the request before eos may come.
        most: draws of the request at most; -1 for no limit but the slot's capacity.
    """

    inputs: Inputs
    interleaved: bool = False
    fill_at: int = -1
    least: int = 0
    most: int = -1


class Layout(Protocol):
    """The inputs of one request, segment by segment: the engine knows no other difference between layouts."""

    def take(self, draws: int) -> Segment | None:
        """The next segment, or None while its text has not arrived.

        Args:
            draws: draws of the request so far, those of ``fill`` included.
        """

    def drawn(self, token: int) -> None:
        """Told every token, ``fill`` excluded."""

    def pull(self) -> bool:
        """Get more text, in the client's thread, which may block; False where somebody else pushes it."""

    def shared(self) -> Inputs:
        """What comes first whatever the text is, but for the last input; for a snapshot."""

    def skip(self, count: int) -> None:
        """Leave out the first inputs, which a snapshot has taken in.

        Raises:
            MamTraError: there are no more than these.
        """


class Unistream:
    """All text first: ``[sos] prompt text, text [task] prompt speech``, then tokens.

    Args:
        text_ids: of the text to speak.
        prompt_text_ids: of what the prompt says.
        prompt_speech: speech tokens of the prompt.
        lengths: how many tokens there may be.
        bounds: least and greatest number of tokens, in place of ``lengths``.
    """

    def __init__(
        self,
        text_ids: Sequence[int],
        prompt_text_ids: Sequence[int] = (),
        prompt_speech: Sequence[int] = (),
        *,
        lengths: LengthConfig = DEFAULT_LENGTHS,
        bounds: tuple[int, int] | None = None,
    ) -> None:
        text = [(TEXT, int(i)) for i in (*prompt_text_ids, *text_ids)]
        speech = [(SPEECH, int(i)) for i in prompt_speech]
        inputs = [(SOS, SOS), *text, (TASK, TASK), *speech]
        least, most = bounds or (lengths.shortest(len(text_ids)), lengths.longest(len(text_ids)))
        self._segment: Segment | None = Segment(inputs, least=least, most=most)

    def take(self, draws: int) -> Segment | None:
        """See `Layout.take`."""
        segment, self._segment = self._segment, None
        return segment

    def drawn(self, token: int) -> None:
        """See `Layout.drawn`."""

    def pull(self) -> bool:
        """See `Layout.pull`."""
        return False

    def shared(self) -> Inputs:
        """None: what a voice says follows the text, and what stands before it is too short to be restored."""
        return []

    def skip(self, count: int) -> None:
        """See `Layout.skip`."""
        self._segment = without_first(self._segment, count)


def without_first(segment: Segment, count: int) -> Segment:
    """The segment without its first inputs.

    Raises:
        MamTraError: it has no more than these.
    """
    if count >= len(segment.inputs):
        raise MamTraError(
            f"This snapshot has taken in {count} inputs, but the request begins with no more than {len(segment.inputs)}."
        )
    return replace(segment, inputs=segment.inputs[count:])


@dataclass(frozen=True)
class Request:
    """One stream of speech tokens to make.

    Attributes:
        layout: its inputs, an `Unistream` or a `mamtra.engine.interleaved.Interleaved`; used up by the request.
        seed: of its random numbers, which depend on nothing else.
        sampling: settings.
        prefix: a snapshot of the first inputs of the layout, to start from in place of an empty state. Without one the engine keeps
            snapshots of prompts itself.
    """

    layout: Layout
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    prefix: Snapshot | None = None

    def __post_init__(self) -> None:
        if not -(2**63) <= self.seed < 2**64:
            raise MamTraError(f"The seed {self.seed} is too large: seeds have 64 bits.")


class TokenStream(Iterator[int]):
    """Tokens of a request as they are made; iterate from any one thread.

    Attributes:
        tokens: those that the engine has made, which may be ahead of the iteration.
        finish_reason: ``eos``, ``length``, ``cancelled`` or ``error``; None while tokens may still come.
    """

    def __init__(self, request: Request, turns: Turns) -> None:
        self.request = request
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.cancelled = False
        self._error: str | None = None
        self._turns = turns
        self._taken = self._wanted = 0  # tokens that the client has, and that it waits for at least
        self._due: float = inf  # tokens from which on it is woken
        self._asked = self._pulls = False
        self._arrived: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __iter__(self) -> TokenStream:
        return self

    def __next__(self) -> int:
        """The next token; waits for it.

        Raises:
            MamTraError: this request failed.
        """
        while self._taken == len(self.tokens):
            if self._pulls:
                self._pulls = False
                if self.request.layout.pull():
                    self.more_text()
            elif self.finish_reason is None:
                self._wait()
            elif self._taken == len(self.tokens):  # it may have ended with tokens since
                if self._error:
                    raise MamTraError(self._error)
                raise StopIteration
        token = self.tokens[self._taken]
        self._taken += 1
        return token

    def expect(self, count: int) -> None:
        """Tell that the client can do nothing before it has so many further tokens: it is not woken for fewer but the last ones."""
        self._wanted = self._taken + count

    def cancel(self) -> None:
        """End this stream; tokens on their way are dropped. Does nothing after its end."""
        if self.finish_reason is None:
            self.cancelled = True
            self._turns.wake()

    def more_text(self) -> None:
        """Tell the engine that the layout may have a segment now."""
        self._asked = False
        self._turns.wake()

    def result(self) -> list[int]:
        """All tokens; waits for the end.

        Raises:
            MamTraError: this request failed.
        """
        self.expect(sys.maxsize)
        for _ in self:
            pass
        return self.tokens

    def _wait(self) -> None:
        """Until there are the tokens that are wanted, the end, or a question."""
        self._due = max(self._wanted, self._taken + 1)
        if len(self.tokens) >= self._due or self._pulls or self.finish_reason is not None:  # since the client looked
            return
        self._turns.wait_for(self._arrived)
        self._arrived.get()

    def _ask(self) -> bool:
        """Let the client get more text, once until there is more; False where it was asked already."""
        if self._asked:
            return False
        self._asked = self._pulls = True
        self._arrived.put(None)
        return True

    def _put(self, token: int) -> None:
        self.tokens.append(token)
        if len(self.tokens) >= self._due:
            self._due = inf
            self._arrived.put(None)

    def _finish(self, reason: FinishReason, error: str | None = None) -> None:
        if self.finish_reason is None:
            self._error, self.finish_reason = error, reason
            self._arrived.put(None)
