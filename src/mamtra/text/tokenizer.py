"""Phoneme strings to ids, through the table of a `tokenizer.json` as the `tokenizers` library writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.files import write_text
from mamtra.text.english.phonemes import phoneme_ids

PAD = "[PAD]"
PAD_ID = 0


def write_phoneme_tokenizer(path: Path) -> None:
    """Write a tokenizer whose tokens are the characters of `ALPHABET`: ids from 1 in its order, 0 for padding and unknowns."""
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": {PAD: PAD_ID, **phoneme_ids()}, "unk_token": PAD},
    }
    write_text(path, json.dumps(content, ensure_ascii=False, separators=(",", ":")))


class PhonemeTokenizer:
    """Encodes phoneme strings.

    Args:
        table: ids by their characters, and `PAD_ID` as `PAD`.
    """

    def __init__(self, table: Mapping[str, int]) -> None:
        self._ids = {symbol: number for symbol, number in table.items() if number != PAD_ID}
        self._symbols = {number: symbol for symbol, number in self._ids.items()}

    @classmethod
    def load(cls, path: Path | str) -> PhonemeTokenizer:
        """Read `tokenizer.json`.

        Raises:
            MamTraError: the file is missing or is not a tokenizer whose tokens are characters.
        """
        from mamtra.runtime.json_files import read_json  # its libraries are not in the page of `mamtra web`

        path = Path(path)
        if not path.is_file():
            raise MamTraError(f"{path} is missing: the model directory is incomplete, fetch the model again.")
        model = read_json(path).get("model")
        table = model.get("vocab") if isinstance(model, dict) and model.get("type") == "WordLevel" else None
        if not isinstance(table, dict) or table.get(PAD) != PAD_ID or not all(map(_fits, table.items())):
            raise MamTraError(f"{path} is not a tokenizer of phonemes: fetch the model again.")
        return cls(table)

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding included."""
        return len(self._ids) + 1

    def encode(self, phonemes: str) -> list[int]:
        """One id for each character of the alphabet; other characters are left out."""
        return [self._ids[symbol] for symbol in phonemes if symbol in self._ids]

    def decode(self, ids: list[int]) -> str:
        """The phoneme string of ids, without padding."""
        return "".join(self._symbols.get(number, "") for number in ids)


def _fits(entry: tuple[str, object]) -> bool:
    symbol, number = entry
    return type(number) is int and number >= 0 and (len(symbol) == 1 or number == PAD_ID)
