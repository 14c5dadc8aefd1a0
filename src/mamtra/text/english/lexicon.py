"""The pronouncing lexicon: a sorted text file, searched in place.

One line a word: ``word<TAB>phonemes``, or ``word<TAB>phonemes|NOUN=...|VERB=...`` where the reading depends on the part
of speech (``PAUSE`` is the full form that a function word takes before a pause). Lines are sorted by their bytes, so
that a lookup is a binary search over the decompressed bytes: nothing is parsed or hashed when the file is opened.
"""

from __future__ import annotations

import lzma
from pathlib import Path

from mamtra.errors import MamTraError

DEFAULT = "DEFAULT"


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
        data: the lines described in the module docstring, sorted by their UTF-8 bytes, each ended by a newline.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._cache: dict[str, dict[str, str] | None] = {}

    @classmethod
    def load(cls, path: Path | str) -> Lexicon:
        """Open an xz-compressed lexicon.

        Raises:
            MamTraError: the file is missing or damaged.
        """
        path = Path(path)
        try:
            return cls(lzma.decompress(path.read_bytes()))
        except FileNotFoundError as error:
            raise MamTraError(f"{path} is missing: the model is incomplete, fetch it again.") from error
        except lzma.LZMAError as error:
            raise MamTraError(f"{path} is damaged ({error}): fetch the model again.") from error

    def exact(self, word: str) -> dict[str, str] | None:
        """Readings of the word as it is written, or None."""
        if word not in self._cache:
            self._cache[word] = self._search(word.encode())
        return self._cache[word]

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
        lines = self._data.decode().splitlines()
        return [(word, parse_readings(field)) for word, _, field in (line.partition("\t") for line in lines)]

    def _search(self, key: bytes) -> dict[str, str] | None:
        data = self._data
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
