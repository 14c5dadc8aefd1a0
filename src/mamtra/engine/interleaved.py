"""The bistream layout of CosyVoice 2 for the engine: text that is still arriving, five ids for fifteen tokens.

The rules, and where they differ from the original, are those of `mamtra.engine.reference.generate_bistream`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from mamtra.engine.request import Inputs, Segment, without_first
from mamtra.models.kinds import MIX, SOS, SPEECH, TASK, TEXT
from mamtra.models.sampling_config import DEFAULT_LENGTHS, LengthConfig


class Interleaved:
    """A layout whose text is taken from an iterable, or pushed from outside.

    Who pushes calls `TokenStream.more_text` after `push` and `end`.

    Args:
        prompt_text_ids: ids of what the prompt says.
        prompt_speech: speech tokens of the prompt.
        lengths: how many tokens there may be at most, counted when the text has come to its end.
        text_ids: of the text to speak, asked for one by one when tokens need them, in the thread that iterates over the tokens; may
            block. None where they are pushed.
        mix: text ids and speech tokens of a chunk, as the model was trained.
        opening: text ids before the first chunk (CosyVoice 3's up to ``<|endofprompt|>``).
    """

    def __init__(
        self,
        prompt_text_ids: Sequence[int] = (),
        prompt_speech: Sequence[int] = (),
        *,
        lengths: LengthConfig = DEFAULT_LENGTHS,
        text_ids: Iterable[int] | None = None,
        mix: tuple[int, int] = MIX,
        opening: Sequence[int] = (),
    ) -> None:
        self._mix = mix
        self._source = None if text_ids is None else iter(text_ids)
        self._text = [int(i) for i in prompt_text_ids]
        self._speech = [int(i) for i in prompt_speech]
        self._lengths = lengths
        self._lock = threading.Lock()
        self._count, self._fills = 0, 0
        self._ended = self._begun = self._done = False
        # fed next, or fed last: the original feeds the inputs before the last fill once more at the end of the text
        self._inputs: Inputs = [(SOS, SOS), *((TEXT, int(i)) for i in opening)]
        self._bare = list(self._inputs)
        self._fill_at = self._mix[1] - len(self._speech) % self._mix[1]
        self._skipped = 0

    def push(self, text_ids: Iterable[int]) -> None:
        """Text that has arrived."""
        with self._lock:
            for i in text_ids:
                self._count += 1
                self._text.append(int(i))
                while self._speech and len(self._text) >= self._mix[0]:
                    self._take_text()
                    self._inputs += [(SPEECH, token) for token in self._speech[: self._mix[1]]]
                    del self._speech[: self._mix[1]]
                if not self._speech and not self._begun and len(self._text) >= self._mix[0]:
                    self._begin_if_bare()

    def end(self) -> None:
        """No more text will come."""
        with self._lock:
            self._ended = True

    def pull(self) -> bool:
        """See `mamtra.engine.request.Layout.pull`."""
        if self._source is None:
            return False
        for i in self._source:
            self.push([i])
            return True
        self._source = None
        self.end()
        return True

    def take(self, draws: int) -> Segment | None:
        """See `mamtra.engine.request.Layout.take`."""
        segment = self._next(draws)
        if segment is not None and self._skipped:
            segment, self._skipped = without_first(segment, self._skipped), 0
        return segment

    def _next(self, draws: int) -> Segment | None:
        with self._lock:
            if self._done:
                return None
            if self._begun and len(self._text) >= self._mix[0]:
                self._fills += 1
                self._fill_at = draws + self._mix[1]
                self._inputs = []
                self._take_text()
                return Segment(list(self._inputs), interleaved=True, fill_at=self._fill_at)
            if not self._begun and not self._speech and self._inputs != self._bare:
                self._begun = True
                return Segment(list(self._inputs), interleaved=True, fill_at=self._fill_at)
            if not self._ended:
                return None
            self._fills += self._begun
            rest = [(TEXT, i) for i in self._text] + [(TASK, TASK)] + [(SPEECH, token) for token in self._speech]
            self._done = True
            return Segment([*self._inputs, *rest], most=self._lengths.longest(self._count) + self._fills)

    def shared(self) -> Inputs:
        """See `mamtra.engine.request.Layout.shared`: the chunks of the prompt that need no text."""
        texts, speeches = self._mix
        with self._lock:
            chunks = min(len(self._text) // texts, -(-len(self._speech) // speeches))
            found = list(self._inputs)
            for i in range(chunks):
                found += [(TEXT, one) for one in self._text[i * texts : (i + 1) * texts]]
                found += [(SPEECH, one) for one in self._speech[i * speeches : (i + 1) * speeches]]
        return found[:-1]

    def skip(self, count: int) -> None:
        """See `mamtra.engine.request.Layout.skip`."""
        self._skipped = count

    def drawn(self, token: int) -> None:
        """See `mamtra.engine.request.Layout.drawn`."""
        with self._lock:
            self._inputs = [(SPEECH, token)]

    def _begin_if_bare(self) -> None:
        """Without a prompt the first five ids follow sos."""
        if self._inputs == self._bare:
            self._take_text()

    def _take_text(self) -> None:
        self._inputs += [(TEXT, i) for i in self._text[: self._mix[0]]]
        del self._text[: self._mix[0]]
