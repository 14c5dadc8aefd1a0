"""The text front end of models that read phonemes: text as written -> segments -> phonemes -> ids."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mamtra.text.english.dates import DateOrder
from mamtra.text.english.g2p import G2P
from mamtra.text.english.lexicon import Lexicon
from mamtra.text.english.normalize import NothingToSay, normalize
from mamtra.text.english.phonemes import close_short
from mamtra.text.english.pronunciations import OwnWords, read_user_lexicon, unread_text
from mamtra.text.incremental import sentences
from mamtra.text.split import Piece, Reading, Segment, Splitter, read_pieces, split_text
from mamtra.text.tokenizer import PhonemeTokenizer

if TYPE_CHECKING:
    from mamtra.text.config import TextConfig
    from mamtra.text.english.letter_to_sound import LetterToSound

LEXICON_FILE = "lexicon.txt.xz"
LETTER_TO_SOUND_FILE = "letter_to_sound.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "text.json"
_MOST_QUOTED = 80


class UnreadText(UserWarning):
    """Some characters of a text are of a script or a kind that the front end cannot read; they are left out."""


class Explanation(NamedTuple):
    """What becomes of a part of a text.

    Attributes:
        text: normalised words and punctuation; "" where nothing can be spoken.
        phonemes: as the model reads them.
        unread: runs of characters that are left out.
    """

    text: str
    phonemes: str
    unread: list[str]


class TextFrontend(Splitter):
    """Text to segments and to the phoneme ids that the speech language model reads.

    Args:
        config: contents of `text.json`.
        lexicon: known words.
        tokenizer: phoneme string -> ids.
        letter_to_sound: lower-case letters of an unknown word -> phonemes.
    """

    def __init__(
        self, config: TextConfig, lexicon: Lexicon, tokenizer: PhonemeTokenizer, letter_to_sound: Callable[[str], str]
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._lexicon = lexicon
        self._g2p = G2P(lexicon, letter_to_sound)
        self._own = OwnWords({})
        self.date_order: DateOrder = config.date_order

    @classmethod
    def load(cls, directory: Path | str, lexicon: Path | str | None = None) -> TextFrontend:
        """Open the text files of a model directory.

        Args:
            directory: the model's.
            lexicon: a user's own pronunciations; see `use_lexicon`.

        Raises:
            MamTraError: a file is missing, damaged or of another kind.
        """
        from mamtra.runtime.json_files import parse_model
        from mamtra.text.config import TextConfig

        directory = Path(directory)
        config = parse_model(TextConfig, directory / CONFIG_FILE, "a text front end")
        words = Lexicon.load(directory / LEXICON_FILE)
        tokenizer = PhonemeTokenizer.load(directory / TOKENIZER_FILE)
        front = cls(config, words, tokenizer, _LetterToSoundFile(directory / LETTER_TO_SOUND_FILE))
        if lexicon is not None:
            front.use_lexicon(lexicon)
        return front

    def use_lexicon(self, path: Path | str) -> None:
        """Let a user's pronunciations go before all others.

        Args:
            path: a text file with lines of the form ``word<TAB>phonemes``.

        Raises:
            MamTraError: the file cannot be read or a line is malformed, with its number.
        """
        readings = read_user_lexicon(path)
        self._lexicon.add_own(readings)
        self._own = OwnWords(self._own.readings | readings)

    @property
    def longest_ids(self) -> int:
        """Greatest number of text ids in a segment."""
        return self.config.longest_segment

    @property
    def vocab_size(self) -> int:
        """Number of text ids, padding included."""
        return self.tokenizer.vocab_size

    def normalize(self, text: str) -> str:
        """Spoken words of a sentence as written.

        Raises:
            MamTraError: nothing in it can be spoken.
        """
        return normalize(text, self._lexicon.__contains__, self.date_order, self._own)

    def arriving(self, parts: Iterable[str]) -> Iterator[Segment]:
        """Segments sentence by sentence, none longer than `longest_segment` phoneme symbols; see `Splitter`."""
        missed: dict[str, None] = {}

        def noting() -> Iterator[str]:
            for sentence in sentences(parts):
                missed.update(dict.fromkeys(unread_text(sentence)))
                yield sentence

        yield from split_text(noting(), self._pieces)
        if missed:
            quoted = ", ".join(missed)
            quoted = quoted if len(quoted) <= _MOST_QUOTED else quoted[: _MOST_QUOTED - 3] + "..."
            warnings.warn(f"Left out, because this voice reads English only: {quoted}", UnreadText, stacklevel=2)

    def explain(self, text: str) -> list[Explanation]:
        """What will be spoken of a text, part by part, and what of it cannot be read.

        Raises:
            MamTraError: a pause mark or a pronunciation in the text is malformed.
        """
        explained = []
        for sentence in sentences([text]):
            missed = unread_text(sentence)
            segments = list(split_text([sentence], self._pieces))
            if missed and not segments:
                explained.append(Explanation("", "", missed))
            for segment in segments:
                explained.append(Explanation(segment.text, self.tokenizer.decode(segment.ids), missed))
                missed = []
        return explained

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
            said = self.normalize(text.strip())
        except NothingToSay:
            return ()  # a line of ornaments between paragraphs is silent
        return read_pieces(said, self.config.longest_segment, self._read)

    def _read(self, said: str) -> Reading:
        phonemes, ends = "", list[int]()
        for token in self._g2p.read(said):
            symbols = token.phonemes + (" " if token.space_after and token.phonemes else "")
            phonemes += symbols
            ends += [token.end] * len(token.phonemes) + [token.end + 1] * (len(symbols) - len(token.phonemes))
        phonemes = phonemes.rstrip()
        return Reading(self.tokenizer.encode(close_short(phonemes)), ends[: len(phonemes)])


class _LetterToSoundFile:
    """The network for unknown words, loaded at the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._network: LetterToSound | None = None

    def __call__(self, word: str) -> str:
        if self._network is None:
            from mamtra.text.english.letter_to_sound import LetterToSound

            self._network = LetterToSound.load(self._path)
        return self._network(word)
