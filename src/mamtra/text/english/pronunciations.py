"""A user's own pronunciations: written in the text as ``[word](/phonemes/)``, or listed in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.text_files import read_text
from mamtra.text.english.characters import PLACEHOLDER, unread
from mamtra.text.english.lexicon import DEFAULT, parse_readings
from mamtra.text.english.markdown import PRONUNCIATION, is_pronunciation
from mamtra.text.english.phonemes import ALPHABET

_ALLOWED = frozenset(ALPHABET)
_LARGEST = 16 * 2**20
Pronunciation = tuple[str, str]
"""Words and their phonemes."""


def _quoted(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def check_phonemes(phonemes: str, where: str) -> str:
    """The phonemes, without the space around them.

    Raises:
        MamTraError: they are empty or hold a symbol that is no phoneme; `where` says where they stand.
    """
    phonemes = phonemes.strip()
    unknown = next((symbol for symbol in phonemes if symbol not in _ALLOWED), None)
    if not phonemes or unknown is not None:
        problem = "has no phonemes" if not phonemes else f"has {unknown!r}, which is no phoneme"
        raise MamTraError(f"{where} {problem}: write it as in [tomato](/təmˈATO/).")
    return phonemes


class OwnWords:
    """A user's words that are more than letters ("C4", "k8s", "AT&T"), found in a text as they are written.

    Args:
        readings: of all the user's words.
    """

    def __init__(self, readings: Mapping[str, dict[str, str]]) -> None:
        self.readings = dict(readings)
        marked = sorted((word for word in readings if not word.replace("'", "").isalpha()), key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, marked))})(?!\w)") if marked else None

    def mark(self, text: str, take: Callable[[str, str], str]) -> str:
        """The text with what `take` makes of each such word and its phonemes."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: take(match[0], self.readings[match[0]][DEFAULT]), text)


def set_aside(text: str, own: OwnWords | None = None) -> tuple[str, list[Pronunciation]]:
    """The text with a placeholder for each ``[word](/phonemes/)``, and these in their order.

    Raises:
        MamTraError: one of them has symbols that are no phonemes.
    """
    text = text.replace(PLACEHOLDER, " ")
    given: list[Pronunciation] = []

    def take(word: str, phonemes: str) -> str:
        given.append((word.strip(), phonemes))
        return PLACEHOLDER

    def written(match: re.Match[str]) -> str:
        if not is_pronunciation(match[2]):
            return match[0]
        return take(match[1], check_phonemes(match[2].replace("_", " "), _quoted(match[0])))

    # From left to right, so that their order is that of the placeholders.
    parts, start = [], 0
    for match in PRONUNCIATION.finditer(text) if "](/" in text else ():
        parts += [own.mark(text[start : match.start()], take) if own else text[start : match.start()], written(match)]
        start = match.end()
    return "".join(parts) + (own.mark(text[start:], take) if own else text[start:]), given


def unread_text(text: str) -> list[str]:
    """What of a text cannot be read; see `unread`. Phonemes that the text gives count as read."""
    return unread(without_pronunciations(text))


def without_pronunciations(text: str) -> str:
    """The text with the words of ``[word](/phonemes/)`` alone, for models that read no phonemes."""
    if "](/" not in text:
        return text
    return PRONUNCIATION.sub(lambda match: match[1] if is_pronunciation(match[2]) else match[0], text)


def written_pronunciation(word: str, phonemes: str) -> str:
    """``[word](/phonemes/)`` without a space inside, so that a sentence is never cut within it."""
    return f"[{'_'.join(word.split())}](/{'_'.join(phonemes.split())}/)"


def read_user_lexicon(path: Path | str) -> dict[str, dict[str, str]]:
    """Readings of a text file with lines of the form ``word<TAB>phonemes``; empty lines and ``#`` comments are skipped.

    Raises:
        MamTraError: the file cannot be read or a line is malformed, with its number.
    """
    missing = f"There is no lexicon {path}; it is a text file of lines 'word<TAB>phonemes'."
    return parse_user_lexicon(read_text(Path(path), missing, _LARGEST), str(path))


def parse_user_lexicon(text: str, name: str) -> dict[str, dict[str, str]]:
    """Readings of the lines of a lexicon; see `read_user_lexicon`."""
    readings: dict[str, dict[str, str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        word, tab, field = line.partition("\t")
        where = f"Line {number} of {name}"
        if not tab or not word.strip() or any(map(str.isspace, word.strip())):
            raise MamTraError(f"{where} is not 'word<TAB>phonemes': {_quoted(line)!r}.")
        parsed = parse_readings(field.strip())
        readings[word.strip()] = {tag: check_phonemes(phonemes, where) for tag, phonemes in parsed.items()}
    return readings
