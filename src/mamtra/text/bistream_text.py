"""Text that is still arriving, as ids for bistream generation: one utterance after the other, each a run of the LM.

Each part is normalised and encoded once it is settled, so that the ids hardly depend on how the text was cut on its way.
An utterance ends at a pause mark or blank line, at the end of a sentence once it is as long as a chunk of a complete text would
be, and at the latest near the longest text that the LM was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from mamtra.errors import MamTraError
from mamtra.text.incremental import settled_parts
from mamtra.text.markup import Pause, parse_markup
from mamtra.text.split import CLAUSE_PAUSE, CLOSED, PARAGRAPH_PAUSE, SENTENCE_PAUSE

if TYPE_CHECKING:
    from mamtra.text.bpe import BpeFrontend


class _Encoded(NamedTuple):
    """Normalised text and its ids."""

    text: str
    ids: list[int]


class _Natural(Pause):
    """A pause that the text does not ask for."""


class Utterance:
    """Text ids of one run of the LM. Iterating again starts from the first id again, then goes on with those still to come.

    Attributes:
        pause_before: silence before it, in seconds.
        pause_asked: what of it the text asks for.
        end: the pause that ended it; known when all its ids were taken.
    """

    def __init__(
        self, first: _Encoded, rest: Iterator[_Encoded | Pause], pause_before: float, pause_asked: float
    ) -> None:
        self.pause_before, self.pause_asked = pause_before, pause_asked
        self.end: Pause | None = None
        self._read, self._rest, self._taken, self._ended = [first], rest, 0, False

    def __iter__(self) -> Iterator[int]:
        at = 0
        while at < len(self._read) or self._pull():
            yield from self._read[at].ids
            at += 1

    def take_text(self) -> str:
        """The text that was read since the last call."""
        fresh, self._taken = self._read[self._taken :], len(self._read)
        return "".join(read.text for read in fresh)

    def _pull(self) -> bool:
        item = None if self._ended else next(self._rest, None)
        if isinstance(item, _Encoded):
            self._read.append(item)
            return True
        if isinstance(item, Pause):
            self.end = item
        self._ended = True
        return False


def utterances(parts: Iterable[str], front: BpeFrontend) -> Iterator[Utterance]:
    """Arriving text as utterances. All ids of an utterance have to be taken before the next one is asked for.

    Args:
        parts: text in parts of any size.
        front: the text front end of the model.

    Raises:
        MamTraError: a `[pause:...]` mark is malformed.
    """
    items = _read(parts, front)
    before: list[Pause] = []
    for item in items:
        if isinstance(item, Pause):
            before.append(item)
            continue
        longest = max((pause.seconds for pause in before), default=0.0)
        asked = max((pause.seconds for pause in before if not isinstance(pause, _Natural)), default=0.0)
        utterance = Utterance(item, items, longest, asked)
        yield utterance
        before = [utterance.end] if utterance.end is not None else []


def _read(parts: Iterable[str], front: BpeFrontend) -> Iterator[_Encoded | Pause]:
    """Text and the pauses that end an utterance."""
    text, count, spaced = "", 0, False
    for part in settled_parts(parts):
        pause = 0.0
        for piece in parse_markup(part.text):
            if isinstance(piece, Pause):
                yield from _closing(text, front)
                yield piece
                text, count, spaced = "", 0, False
                continue
            try:
                said = front.normalize_arrived(piece)
            except MamTraError:
                continue  # signs without words are silent
            if front.rules == "mamtra" and text and (spaced or piece[0].isspace()):
                said = " " + said
            read = _Encoded(said, front.encode(said))
            yield read
            text, count, spaced = said, count + len(read.ids), piece[-1].isspace()
        if part.ends and "\n\n" in "".join(part.text[len(part.text.rstrip()) :].split(" ")):
            pause = PARAGRAPH_PAUSE
        elif part.ends and count > front.config.fewest_tokens:
            pause = SENTENCE_PAUSE
        elif count > front.config.longest_tokens * 3 // 4:
            pause = CLAUSE_PAUSE
        if pause and text:
            yield from _closing(text, front)
            yield _Natural(pause)
            text, count, spaced = "", 0, False
    yield from _closing(text, front)


def _closing(text: str, front: BpeFrontend) -> Iterator[_Encoded]:
    """A full stop where the end of an utterance has none."""
    if front.rules == "mamtra" and text and text[-1] not in CLOSED:
        stop = "." if text[-1].isascii() else "。"
        yield _Encoded(stop, front.encode(stop))
