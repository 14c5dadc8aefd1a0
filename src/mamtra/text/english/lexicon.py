"""The pronouncing lexicon: sorted lines of text, searched in place.

One line a word: ``word<TAB>phonemes``, or ``word<TAB>phonemes|NOUN=...|VERB=...`` where the reading depends on the part
of speech (``PAUSE`` is the full form that a function word takes before a pause). Lines are sorted by their bytes, so
that a lookup is a binary search over bytes: nothing is unpacked, parsed or hashed when the file is opened.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.text.english.lexicon_file import LexiconFile

DEFAULT = "DEFAULT"
LONGEST_WORD = 48
"""Letters; nothing longer is in a lexicon or looked up in one."""
_CACHE_SIZE = 16_384


def parse_readings(field: str) -> dict[str, str]:
    """``"rˈid|VBD=rˈɛd"`` -> ``{"DEFAULT": "rˈid", "VBD": "rˈɛd"}``."""
    first, *rest = field.split("|")
    readings = {DEFAULT: first}
    for part in rest:
        tag, _, phonemes = part.partition("=")
        readings[tag] = phonemes
    return readings


class Lexicon:
    """Word -> readings.

    Args:
        file: the lines described in the module docstring, sorted by their UTF-8 bytes.
        additions: readings that go before those of `file`.
        path: of the file.
    """

    def __init__(
        self, file: LexiconFile, additions: Mapping[str, dict[str, str]] | None = None, path: Path | None = None
    ) -> None:
        self._file, self._path = file, path
        self._additions = dict(additions or {})
        self._own: frozenset[str] = frozenset()
        self._cached = lru_cache(maxsize=_CACHE_SIZE)(self._search)

    @classmethod
    def load(cls, path: Path | str) -> Lexicon:
        """Open a lexicon's file.

        Raises:
            MamTraError: it is missing or damaged; of a damaged part the methods tell that look into it.
        """
        path = Path(path)
        try:
            with _told(path):
                return cls(LexiconFile(path.read_bytes()), packaged_additions(), path)
        except FileNotFoundError as error:
            raise MamTraError(f"{path} is missing: the model is incomplete, fetch it again.") from error

    def add_own(self, readings: Mapping[str, dict[str, str]]) -> None:
        """Layer a user's readings over all others."""
        self._additions |= readings
        self._own |= readings.keys()

    def own(self, word: str) -> dict[str, str] | None:
        """A user's readings of the word: as it is written, else in lower case."""
        found = word if word in self._own else word.lower()
        return self._additions[found] if found in self._own else None

    def exact(self, word: str) -> dict[str, str] | None:
        """Readings of the word as it is written, or None."""
        if len(word) > LONGEST_WORD:
            return None
        return self._additions.get(word) or self._cached(word)

    def readings(self, word: str) -> dict[str, str] | None:
        """Readings of a word; a capital at its start is overlooked when only the other form is listed."""
        found = self.exact(word)
        if found is None and len(word) > 1:
            if word == word.lower():
                found = self.exact(word.capitalize())
            elif word == word.capitalize():
                found = self.exact(word.lower())
        return found

    def __contains__(self, word: str) -> bool:
        return self.readings(word) is not None

    def words(self) -> list[tuple[str, dict[str, str]]]:
        """Every word with its readings, in file order."""
        with _told(self._path):
            lines = self._file.all().decode().splitlines()
        return [(word, parse_readings(field)) for word, _, field in (line.partition("\t") for line in lines)]

    def _search(self, sought: str) -> dict[str, str] | None:
        key = sought.encode("utf-8", "replace")
        with _told(self._path):
            data = self._file.near(key)
        low, high = 0, len(data)
        while low < high:
            start = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
            end = data.find(b"\n", start)
            word, _, field = data[start:end].partition(b"\t")
            if word == key:
                return parse_readings(field.decode())
            if word < key:
                low = end + 1
            else:
                high = start
        return None


@contextmanager
def _told(path: Path | None) -> Iterator[None]:
    try:
        yield
    except (lzma.LZMAError, ValueError) as error:
        raise MamTraError(f"{path} is damaged ({error}): fetch the model again.") from error


@lru_cache(maxsize=1)
def packaged_additions() -> dict[str, dict[str, str]]:
    """Readings of `additions.txt`: words that the dictionaries lack or read wrongly."""
    lines = files(__package__).joinpath("additions.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("\t") for line in lines if line and not line.startswith("#"))
    return {word: parse_readings(field) for word, _, field in pairs}
