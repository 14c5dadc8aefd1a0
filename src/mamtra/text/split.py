"""Text -> segments that are spoken in one go: sentences, or pieces of a long one, with the pause before each."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError
from mamtra.text.markup import Pause, parse_markup

if TYPE_CHECKING:
    from pysbd import Segmenter

SENTENCE_PAUSE = 0.25
PARAGRAPH_PAUSE = 0.6
CLAUSE_PAUSE = 0.1
LONGEST_SEGMENT = 250
"""Characters of a segment's spoken text; phonemes and their stress marks come to about as many."""

_CONJUNCTIONS = r"\s(?=(?:and|but|or|because|which|that|who|while|when|if)\s)"
_CUTS = [r"(?<=[;:])\s", r"(?<=—)(?=\w)", r"(?<=,)\s", _CONJUNCTIONS, r"\s"]


@dataclass(frozen=True)
class Segment:
    """Text to be spoken in one go.

    Attributes:
        text: normalised words and punctuation.
        pause_before: silence before it, in seconds.
    """

    text: str
    pause_before: float = 0.0


@lru_cache(maxsize=1)
def _segmenter() -> Segmenter:
    with warnings.catch_warnings():
        # Old escape sequences in its source make Python 3.12 and later complain while compiling it.
        warnings.simplefilter("ignore")
        from pysbd import Segmenter

    return Segmenter(language="en", clean=False)


def sentences(paragraph: str) -> list[str]:
    """Sentences of one paragraph as written, without the space around them."""
    return [sentence.strip() for sentence in _segmenter().segment(paragraph) if sentence.strip()]


def cut_long(text: str, limit: int, measure: Callable[[str], int] = len) -> list[str]:
    """Pieces of at most `limit`, cut at the strongest punctuation available, else between words.

    Args:
        text: a normalised sentence.
        limit: greatest measure of a piece; a single longer word is cut where the limit falls.
        measure: length of a text (characters by default).
    """
    text = text.strip()
    if measure(text) <= limit:
        return [text] if text else []
    for pattern in _CUTS:
        parts = _balanced(text, [m.start() for m in re.finditer(pattern, text)], limit, measure)
        if parts:
            return [piece for part in parts for piece in cut_long(part, limit, measure)]
    half = max(1, len(text) // 2)
    return cut_long(text[:half], limit, measure) + cut_long(text[half:], limit, measure)


def _balanced(text: str, places: list[int], limit: int, measure: Callable[[str], int]) -> tuple[str, str] | None:
    """Two parts, cut as near the middle as the places allow; None when one part would be a scrap of the sentence."""
    inside = [p for p in places if measure(text[:p]) >= limit // 5 and measure(text[p:]) >= limit // 5]
    if not inside:
        return None
    place = min(inside, key=lambda p: abs(p - len(text) / 2))
    return text[:place], text[place:]


def split_text(
    text: str,
    normalize: Callable[[str], str],
    limit: int = LONGEST_SEGMENT,
    measure: Callable[[str], int] = len,
) -> list[Segment]:
    """Segments of a text: paragraphs (blank lines), pause marks, sentences, and pieces of long sentences.

    Args:
        text: text as written, with `[pause:...]` marks.
        normalize: sentence as written -> spoken words; raises MamTraError for a sentence with nothing to say.
        limit: greatest measure of a segment.
        measure: length of a normalised text.

    Raises:
        MamTraError: nothing in the text can be spoken, or a pause mark is malformed.
    """
    segments: list[Segment] = []
    pause = 0.0
    asked = 0.0
    for part in parse_markup(text):
        if isinstance(part, Pause):
            asked += part.seconds
            continue
        for number, paragraph in enumerate(re.split(r"\n\s*\n", part)):
            if number and segments:
                pause = PARAGRAPH_PAUSE
            for sentence in sentences(re.sub(r"\s+", " ", paragraph)):
                try:
                    said = normalize(sentence)
                except MamTraError:
                    continue  # a line of ornaments between paragraphs is silent
                for piece in cut_long(said, limit, measure):
                    # A pause that the text asks for replaces the natural one.
                    segments.append(Segment(piece, asked or pause))
                    asked, pause = 0.0, CLAUSE_PAUSE
                pause = SENTENCE_PAUSE
    if not segments:
        raise MamTraError("There is nothing to say in this text: give it at least one word or number.")
    return segments
