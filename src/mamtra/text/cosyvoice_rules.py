"""CosyVoice 2's own text rules: wetext's normalisation, numbers by inflect, and chunks by its limits.

They follow the behaviour of the original's text front end, whose measures are characters for Chinese and tokens for all other
languages. wetext and inflect come with the extra `cosyvoice`; like the original, text is not normalised without wetext.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import groupby
from typing import Any

from mamtra.errors import MamTraError
from mamtra.runtime.optional import need

LONGEST_CHUNK, SHORTEST_CLOSED, SHORTEST_LAST = 80, 60, 20
_CHINESE = re.compile("[\u4e00-\u9fff]")
_MARKED = re.compile(r"<\|.*\|>", re.DOTALL)
_ENDS_CHINESE, _ENDS = "。？！；：、.?!;", ".?!;:"
_DROPPED = str.maketrans({"²": "平方", "³": "立方", **dict.fromkeys("（）【】`")})


class NoNormaliser(UserWarning):
    """wetext or inflect is missing, so numbers and abbreviations stay as they are written."""


def normalise(text: str) -> str:
    """The text as the original's tokenizer gets it; text with ``<|...|>`` is not changed."""
    if is_marked(text):
        return text
    text = text.strip()
    return _chinese(text) if is_chinese(text) else _other(text)


def chunks(text: str, count: Callable[[str], int]) -> list[str]:
    """The chunks, normalised, in which a text is spoken one by one; text with ``<|...|>`` is one chunk.

    Args:
        text: as written.
        count: number of tokens of a text.
    """
    if is_marked(text):
        return [text]
    chinese, text = is_chinese(text), normalise(text)
    if not text:
        return []
    length, ends = (len, _ENDS_CHINESE) if chinese else (count, _ENDS)
    if text[-1] not in ends:
        text += "。" if chinese else "."
    closed, current = list[str](), ""
    for clause in _clauses(text, ends):
        if length(current + clause) > LONGEST_CHUNK and length(current) > SHORTEST_CLOSED:
            closed.append(current)
            current = ""
        current += clause
    if closed and current and length(current) < SHORTEST_LAST:
        closed[-1] += current
    elif current:
        closed.append(current)
    return [chunk for chunk in closed if not all(unicodedata.category(c)[0] in "PS" for c in chunk)]


def is_chinese(text: str) -> bool:
    """Whether a text is read by the Chinese rules: one character is enough."""
    return bool(_CHINESE.search(text))


def is_marked(text: str) -> bool:
    """Whether the text holds ``<|...|>``, which turns all rules off."""
    return bool(_MARKED.search(text))


def _chinese(text: str) -> str:
    text = _without_blanks(_wetext("zh")(text).replace("\n", "")).translate(_DROPPED)
    text = text.replace(".", "。").replace(" - ", "，").replace("——", " ")
    return re.sub("[，,、]+$", "。", text)


def _other(text: str) -> str:
    words = _number_words()
    runs = (("".join(run), digits) for digits, run in groupby(_wetext("en")(text), str.isdigit))
    return "".join(words(run) if digits else run for run, digits in runs)


def _without_blanks(text: str) -> str:
    """Blanks are kept between two characters of ASCII only."""

    def ascii_at(place: int) -> bool:
        return 0 <= place < len(text) and text[place].isascii() and text[place] != " "

    return "".join(c for i, c in enumerate(text) if c != " " or (ascii_at(i - 1) and ascii_at(i + 1)))


def _clauses(text: str, ends: str) -> Iterator[str]:
    """Parts that end with a mark of `ends`, and with the quotation mark behind it; a mark without text before it is dropped."""
    start, held = 0, ""
    for place, character in enumerate(text):
        if character not in ends:
            continue
        if text[start:place]:
            if held:
                yield held
            held = text[start : place + 1]
        start = place + 1
        if text[start : start + 1] in ('"', "”") and held:
            held, start = held + text[start], start + 1
    if held:
        yield held


@cache
def _wetext(language: str) -> Callable[[str], str]:
    normalizer = _optional("wetext", "Normalising text as CosyVoice 2 does")
    if normalizer is None:
        return str
    rules = normalizer.Normalizer(remove_erhua=False) if language == "zh" else normalizer.Normalizer()

    def read(text: str) -> str:
        try:
            return rules.normalize(text)
        except AssertionError:  # its parser does not know every string, on which the original stops
            return text

    return read


@cache
def _number_words() -> Callable[[str], str]:
    inflect = _optional("inflect", "Reading digits as CosyVoice 2 does")
    return str if inflect is None else inflect.engine().number_to_words


def _optional(module: str, purpose: str) -> Any:
    """A library, or None with a warning: the original goes on without it too."""
    try:
        return need(module, purpose, "'mamtra[cosyvoice]'")
    except MamTraError as error:
        warnings.warn(f"{error} Until then text is read as written.", NoNormaliser, stacklevel=2)
        return None
