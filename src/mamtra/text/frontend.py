"""The text front end of models that read phonemes: text as written -> segments -> phonemes -> ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mamtra.errors import MamTraError
from mamtra.text.english.g2p import G2P
from mamtra.text.english.lexicon import Lexicon
from mamtra.text.english.normalize import normalize
from mamtra.text.incremental import sentences
from mamtra.text.split import Piece, Reading, Segment, Splitter, read_pieces, split_text
from mamtra.text.tokenizer import PhonemeTokenizer

if TYPE_CHECKING:
    from mamtra.text.english.letter_to_sound import LetterToSound

LEXICON_FILE = "lexicon.txt.xz"
LETTER_TO_SOUND_FILE = "letter_to_sound.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "text.json"
_WRAPPED = re.compile(r"([^\W\d_]+)-[^\S\n]*\n[^\S\n]*([a-z]+)")


class TextConfig(BaseModel):
    """Contents of `text.json`.

    Attributes:
        kind: the text units that the model reads.
        language: BCP 47 tag.
        lexicon_source: where the lexicon's readings come from.
        longest_segment: greatest number of phoneme symbols in a segment, stress marks, spaces and punctuation included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["phonemes"] = "phonemes"
    language: Literal["en-US"] = "en-US"
    lexicon_source: str = ""
    longest_segment: int = 250


class TextFrontend(Splitter):
    """Text to segments and to the phoneme ids that the speech language model reads.

    Args:
        config: contents of `text.json`.
        lexicon: known words.
        tokenizer: phoneme string -> ids.
        letter_to_sound: file of the network for unknown words, loaded at the first one.
    """

    def __init__(
        self, config: TextConfig, lexicon: Lexicon, tokenizer: PhonemeTokenizer, letter_to_sound: Path
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._lexicon = lexicon
        self._network_file = letter_to_sound
        self._network: LetterToSound | None = None
        self._g2p = G2P(lexicon, self._read_unknown)

    @classmethod
    def load(cls, directory: Path | str) -> TextFrontend:
        """Open the text files of a model directory.

        Raises:
            MamTraError: a file is missing, damaged or of another kind.
        """
        directory = Path(directory)
        path = directory / CONFIG_FILE
        try:
            config = TextConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise MamTraError(f"{path} is missing: the model is incomplete, fetch it again.") from error
        except (json.JSONDecodeError, ValidationError) as error:
            raise MamTraError(f"{path} does not describe a text front end that this version knows: {error}.") from error
        lexicon = Lexicon.load(directory / LEXICON_FILE)
        tokenizer = PhonemeTokenizer.load(directory / TOKENIZER_FILE)
        return cls(config, lexicon, tokenizer, directory / LETTER_TO_SOUND_FILE)

    @property
    def vocab_size(self) -> int:
        """Number of text ids, padding included."""
        return self.tokenizer.vocab_size

    def normalize(self, text: str) -> str:
        """Spoken words of a sentence as written.

        Raises:
            MamTraError: nothing in it can be spoken.
        """
        return normalize(text, self._lexicon.__contains__)

    def arriving(self, parts: Iterable[str]) -> Iterator[Segment]:
        """Segments sentence by sentence, none longer than `longest_segment` phoneme symbols; see `Splitter`."""
        return split_text(sentences(parts), self._pieces)

    def phonemes(self, text: str) -> str:
        """Phoneme string of a sentence as written.

        Raises:
            MamTraError: nothing in it can be spoken.
        """
        return self._g2p(self.normalize(text))

    def encode(self, text: str) -> list[int]:
        """Text ids of a sentence as written.

        Raises:
            MamTraError: nothing in it can be spoken.
        """
        return self.tokenizer.encode(self.phonemes(text))

    def _pieces(self, text: str) -> Iterable[Piece]:
        try:
            said = self.normalize(" ".join(_WRAPPED.sub(self._unwrap, text).split()))
        except MamTraError:
            return ()  # a line of ornaments between paragraphs is silent
        return read_pieces(said, self.config.longest_segment, self._read)

    def _read(self, said: str) -> Reading:
        phonemes, ends = "", list[int]()
        for token in self._g2p.read(said):
            symbols = token.phonemes + (" " if token.space_after and token.phonemes else "")
            phonemes += symbols
            ends += [token.end] * len(token.phonemes) + [token.end + 1] * (len(symbols) - len(token.phonemes))
        phonemes = phonemes.rstrip()
        return Reading(self.tokenizer.encode(phonemes), ends[: len(phonemes)])

    def _unwrap(self, match: re.Match[str]) -> str:
        """A word that a line break divides: with its hyphen only where it is not known without."""
        joined = match[1] + match[2]
        return joined if joined.lower() in self._lexicon else f"{match[1]}-{match[2]}"

    def _read_unknown(self, word: str) -> str:
        if self._network is None:
            from mamtra.text.english.letter_to_sound import LetterToSound

            self._network = LetterToSound.load(self._network_file)
        return self._network(word)
