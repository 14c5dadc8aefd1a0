"""Whether a run of the LM read the whole text once: where words repeat, it may leave some out or say them twice.

One head of the embedded voice's LM attends to the place in the text that is being spoken, and to little else. Its attention tells
which text ids were never reached, and which were reached a second time (`benchmarks/lists.py` measures how often that happens).
Where it passes lightly over what it leaves out, the run is too short for its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from mamtra.synthesis.model import Model
    from mamtra.voices.voice import Voice

REACHED = 0.5
"""Attention from which on an id counts as spoken in full."""
MOST_LEFT_OUT = 3.2
"""Text ids in a row that may be left out: a weak consonant and the marks beside it often are."""
MOST_SAID_TWICE = 5
"""Text ids that may be returned to: where words repeat, the head wavers between them."""
SHORTEST = 0.85
"""Of the tokens that a text takes, what a run may have at least; few plain sentences have less."""
_APART = 3
_FLOOR = 1e-4
"""Attention that any id may have."""
_SETTLED = 5


class Coverage(NamedTuple):
    """What a run made of its text.

    Attributes:
        misread: see `misread`.
        read: see `read_by`; None where it is not known.
    """

    misread: float = 0.0
    read: np.ndarray | None = None

    @classmethod
    def of(
        cls, attention: np.ndarray | None, pace: tuple[float, float] | None = None, *, ended: bool = True
    ) -> Coverage:
        """From the attention (tokens, text ids) of a run, where there is any; of its tokens so far where it has not ended."""
        if attention is None:
            return cls()
        return cls(misread(attention, pace, ended=ended), read_by(attention, ended=ended))


def attention_of(model: Model, voice: Voice, text_ids: Sequence[int], tokens: Sequence[int]) -> np.ndarray | None:
    """Attention (tokens, text ids) of a run with torch, by another pass over it.

    Args:
        model: its settings name the head; without one there is none.
        voice: of the run.
        text_ids: of the text.
        tokens: of the run.
    """
    from mamtra.engine.alignment import text_attention

    head = usable_head(model.generation.alignment_head, model.lm.config.layer_types)
    if head is None or not tokens or not text_ids:
        return None
    return text_attention(model.lm, head, text_ids, tokens, *voice.lm_prompt, graphs=model.alignment_graphs).numpy()


def usable_head(head: tuple[int, int] | None, layer_types: Sequence[str]) -> tuple[int, int] | None:
    """The head, if its layer has attention: in a model that was made from another one it may be a Mamba layer."""
    return head if head is not None and tuple(layer_types[head[0] : head[0] + 1]) == ("full_attention",) else None


def misread(attention: np.ndarray | None, pace: tuple[float, float] | None = None, *, ended: bool = True) -> float:
    """How many text ids in a row a run left out, how many it said twice, and how many it is too short for, where there are more of
    them than usual.

    Args:
        attention: (tokens, text ids) to the text at each token, at least one of both; None where it is not known.
        pace: see `mamtra.checkpoints.generation_config.GenerationConfig`; None where it is not known.
        ended: whether the run is complete; otherwise ids after the last place are still to come.

    Returns:
        0 for a run that is as it should be.
    """
    if attention is None:
        return 0.0
    short = count_too_short(*attention.shape, pace) if ended and pace else 0.0
    if not ended:  # the head may have wandered ahead for a moment
        attention = attention[:, : int(attention[-_SETTLED:].argmax(1).min()) + 1]
    left_out, twice = longest_left_out(attention), count_said_twice(attention)
    return left_out * (left_out > MOST_LEFT_OUT) + twice * (twice > MOST_SAID_TWICE) + short


def count_too_short(tokens: int, ids: int, pace: tuple[float, float]) -> float:
    """Text ids of such a pace for which a run has no time, 0 where they are no more than usual."""
    each, besides = pace
    return ids - (tokens - besides) / each if tokens < SHORTEST * (each * ids + besides) else 0.0


def read_by(attention: np.ndarray, *, ended: bool = True) -> np.ndarray:
    """How much of the text is read when: along the path through the text that never goes back and has most attention.

    Args:
        attention: (tokens, text ids) to the text at each token, at least one of both.
        ended: whether the run is complete, so that all of the text was read.

    Returns:
        (2, n): tokens, and the text ids read before they begin; both ascend, from 0 to the numbers of tokens and of ids read.
    """
    tokens, ids = attention.shape
    scores, places = np.log(attention + _FLOOR), np.arange(ids)
    best, came = scores[0], []
    for row in scores[1:]:
        reach = np.maximum.accumulate(best)
        came.append(np.maximum.accumulate(np.where(best == reach, places, 0)))
        best = reach + row
    path = [int(best.argmax())]
    for before in reversed(came):
        path.append(int(before[path[-1]]))
    path.reverse()
    first = [token for token in range(1, tokens) if path[token] > path[token - 1]]
    return np.array(
        [[0, *first, tokens], [0, *(path[token] for token in first), ids if ended else path[-1]]], np.float32
    )


def longest_left_out(attention: np.ndarray) -> float:
    """Ids in the longest stretch that was left out; an id that was reached in part counts for the rest.

    Args:
        attention: (tokens, text ids) to the text at each token.
    """
    longest = stretch = 0.0
    for missing in (1 - attention.max(0) / REACHED).tolist():
        stretch = stretch + missing if missing > 0 else 0.0
        longest = max(longest, stretch)
    return longest


def count_said_twice(attention: np.ndarray) -> int:
    """Ids that were the place in the text at two times, more than three tokens apart.

    Args:
        attention: (tokens, text ids) to the text at each token.
    """
    visits: dict[int, list[int]] = {}
    for token, place in enumerate(attention.argmax(1).tolist()):
        visits.setdefault(place, []).append(token)
    return sum(any(b - a > _APART for a, b in pairwise(times)) for times in visits.values())
