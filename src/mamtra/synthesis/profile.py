"""How a loaded model reads text: the profile of its generation settings, and what its text front end is told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, get_args

from mamtra.acoustic.flow_history import check_history
from mamtra.acoustic.flow_steps import check_steps
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.errors import MamTraError
from mamtra.synthesis.pipeline import check_text
from mamtra.text.bistream_text import Utterance, utterances
from mamtra.text.markup import parse_markup
from mamtra.text.split import Segment, nothing_to_say

if TYPE_CHECKING:
    from mamtra.synthesis.model_directory import ModelDirectory
    from mamtra.text.bpe import BpeFrontend
    from mamtra.text.frontend import TextFrontend


def choose_profile(
    model: ModelDirectory,
    like_original: bool | None,
    text_rules: str | None,
    flow_steps: int | None = None,
    flow_history: int | None = None,
) -> GenerationConfig:
    """The generation defaults of a model with another profile, where one is asked for; its text front end gets the text rules.

    Raises:
        MamTraError: the model has no original, there are no such text rules, or the flow cannot take so many steps or keep such
            a history.
    """
    changes: dict[str, object] = {}
    if own_steps(model, flow_steps) is not None:
        changes["flow_steps"] = flow_steps
    if flow_history is not None:
        flow = model.config.get("flow", {})
        check_history(flow_history, int(flow.get("chunk_size", 25)), int(flow.get("token_mel_ratio", 2)))
        changes["flow_history"] = flow_history
    if like_original is None and text_rules is None:
        return model.generation.model_copy(update=changes)
    if not model.text.reads_letters:
        raise MamTraError(f"The model {model.name} has no original and one kind of text rules; leave the options out.")
    from mamtra.text.bpe import TextRules

    if text_rules is not None and text_rules not in get_args(TextRules):
        raise MamTraError(f"There are no text rules {text_rules!r}; use {', '.join(get_args(TextRules))}.")
    if like_original is not None:
        changes |= {"like_original": like_original, "text_rules": "cosyvoice2" if like_original else "mamtra"}
    if text_rules is not None:
        changes["text_rules"] = text_rules
    generation = model.generation.model_copy(update=changes)
    model.text.rules = generation.text_rules
    return generation


def own_steps(model: ModelDirectory, flow_steps: int | None) -> int | None:
    """A number of steps of a model's flow; None where it is the model's own.

    Raises:
        MamTraError: the flow cannot take so many.
    """
    if flow_steps is None:
        return None
    check_steps(flow_steps, model.config.get("flow", {}).get("trained_steps", ()))
    return None if flow_steps == model.generation.flow_steps else flow_steps


def adjust_reading(model: ModelDirectory, lexicon: str | os.PathLike | None, date_order: str | None) -> None:
    """Give the text front end a user's lexicon and order of dates, where there are any.

    Raises:
        MamTraError: the lexicon cannot be read, there is no such order, or the model reads letters instead of phonemes.
    """
    if lexicon is None and date_order is None:
        return
    front = phoneme_frontend(model)
    if date_order is not None:
        from mamtra.text.english.dates import DateOrder

        if date_order not in get_args(DateOrder):
            raise MamTraError(f"There is no date order {date_order!r}; use {', '.join(get_args(DateOrder))}.")
        front.date_order = date_order
    if lexicon is not None:
        front.use_lexicon(lexicon)


def read(
    front: TextFrontend | BpeFrontend, text: str | Iterable[str], interleave: bool
) -> Iterator[Segment | Utterance]:
    """Segments one by one, or with `interleave` what is read while it is spoken. Of a complete text the first one, and all pause
    marks, are read at once, so that errors show.

    Raises:
        MamTraError: a complete text is empty, too long or without words.
    """
    if not isinstance(text, str):
        return utterances(text, front) if interleave else front.arriving(text)
    parse_markup(check_text(text))
    segments = utterances([text], front) if interleave else front.iterate(text)
    if (first := next(segments, None)) is None:
        raise nothing_to_say()
    return chain([first], segments)


def phoneme_frontend(model: ModelDirectory) -> TextFrontend:
    """The text front end of a model that reads phonemes.

    Raises:
        MamTraError: it reads letters.
    """
    if model.text.reads_letters:
        raise MamTraError(
            f"The model {model.name} reads letters, not phonemes; leave out pronunciations and date order."
        )
    return model.text
