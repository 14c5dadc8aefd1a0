"""The text front end as the page runs it, in Pyodide: the same code but for what needs libraries.

The network for unknown words is computed by the page (`page/letter_to_sound.js`), and settings are taken as they stand in the
files, which were checked when the page was made.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from mamtra.text.english.lexicon import Lexicon
from mamtra.text.english.spelt_words import read_letters
from mamtra.text.frontend import CONFIG_FILE, LEXICON_FILE, TOKENIZER_FILE, TextFrontend
from mamtra.text.split import nothing_to_say
from mamtra.text.tokenizer import PhonemeTokenizer

_DEFAULTS = {"date_order": "auto", "longest_segment": 250}


def open_reader(folder: str, find: Callable[[list[int]], Any], sounds: list[str]) -> TextFrontend:
    """The front end of the files of a folder.

    Args:
        folder: with text.json, tokenizer.json and the lexicon.
        find: best class of each position of a word, as `mamtra.text.english.spelt_words.read_letters` asks for.
        sounds: of the classes.
    """
    directory = Path(folder)
    config = _DEFAULTS | json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))

    def read_unknown(word: str) -> str:
        return read_letters(word.lower(), lambda letters: list(find(letters)), sounds)

    words = Lexicon.load(directory / LEXICON_FILE)
    ids = PhonemeTokenizer(json.loads((directory / TOKENIZER_FILE).read_text(encoding="utf-8"))["model"]["vocab"])
    return TextFrontend(cast(Any, SimpleNamespace(**config)), words, ids, read_unknown)


class Reading:
    """A text on its way to segments, one at a time, as JSON."""

    def __init__(self, reader: TextFrontend, text: str) -> None:
        self._segments = reader.iterate(text)
        self._any = False

    def take(self) -> str:
        """The next segment: ``text``, ``ids``, ``pause`` in seconds, ``written``; at the end ``left_out``, a sentence or "".

        Raises:
            MamTraError: nothing in the text can be spoken, or a mark in it is malformed.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            segment = next(self._segments, None)
        if segment is None and not self._any:
            raise nothing_to_say()
        if segment is None:
            return json.dumps({"left_out": " ".join(str(each.message) for each in caught)})
        self._any = True
        about = {"text": segment.text, "ids": segment.ids, "pause": segment.pause_before, "written": segment.written}
        return json.dumps(about)
