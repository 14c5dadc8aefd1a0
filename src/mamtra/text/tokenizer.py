"""Phoneme strings to ids through a `tokenizer.json` of the `tokenizers` library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable
from mamtra.text.english.phonemes import phoneme_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD = "[PAD]"
PAD_ID = 0


def build_phoneme_tokenizer() -> Tokenizer:
    """A tokenizer whose tokens are the characters of `ALPHABET`: ids from 1 in its order, 0 for padding and unknowns."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split

    tokenizer = Tokenizer(WordLevel({PAD: PAD_ID, **phoneme_ids()}, unk_token=PAD))
    tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = Fuse()
    return tokenizer


class PhonemeTokenizer:
    """Encodes phoneme strings with a loaded `tokenizer.json`.

    Args:
        tokenizer: a `tokenizers.Tokenizer` in which every phoneme character is one token.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, path: Path | str) -> PhonemeTokenizer:
        """Read `tokenizer.json`.

        Raises:
            MamTraError: the file is missing or is not a tokenizer.
        """
        return cls(open_tokenizer(Path(path)))

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding included."""
        return self._tokenizer.get_vocab_size()

    def encode(self, phonemes: str) -> list[int]:
        """One id for each character of the alphabet; other characters are left out."""
        return [i for i in self._tokenizer.encode(phonemes, add_special_tokens=False).ids if i != PAD_ID]

    def decode(self, ids: list[int]) -> str:
        """The phoneme string of ids, without padding."""
        return self._tokenizer.decode([i for i in ids if i != PAD_ID], skip_special_tokens=False)


def open_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`.

    Raises:
        MamTraError: the file is missing or is not a tokenizer.
    """
    from tokenizers import Tokenizer

    if not path.is_file():
        raise MamTraError(f"{path} is missing: the model directory is incomplete, fetch the model again.")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise MamTraError(
            f"{path} is not a tokenizer file ({printable(str(error))}): fetch the model again."
        ) from error
