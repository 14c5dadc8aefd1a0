"""Words that come again, set apart: what the LM reads when a run of a text with them went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

LEAST = 3
"""Text ids of a word that is set apart; most words that come again in every sentence are shorter."""


class Reading(NamedTuple):
    """What the LM reads for a text.

    Attributes:
        ids: text ids.
        own: which of them are those of the text, in its order.
    """

    ids: Sequence[int]
    own: Sequence[int] | slice = slice(None)


def set_apart(text_ids: Sequence[int], marks: tuple[int, int, int]) -> Reading:
    """A text with quotation marks around each of the words that come again: so the LM says every one of them.

    Args:
        text_ids: of the text.
        marks: see `mamtra.checkpoints.generation_config.GenerationConfig.apart`.
    """
    opening, closing, gap = marks
    parts = [(is_word, tuple(part)) for is_word, part in groupby(text_ids, lambda each: each > gap)]
    count, ids, own = Counter(parts), list[int](), list[int]()
    for is_word, part in parts:
        quoted = is_word and len(part) >= LEAST and count[is_word, part] > 1
        ids += [opening] * quoted
        own += range(len(ids), len(ids) + len(part))
        ids += [*part, *[closing] * quoted]
    return Reading(ids, own)
