"""The text front end of models that read subwords, as CosyVoice 2 and 3 do: Qwen2's tokenizer with more special tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mamtra.errors import MamTraError
from mamtra.runtime.json_files import parse_model
from mamtra.runtime.optional import need
from mamtra.runtime.printable import printable
from mamtra.runtime.strict_models import ClosedModel
from mamtra.text import cosyvoice_rules
from mamtra.text.english.normalize import normalize
from mamtra.text.english.pronunciations import without_pronunciations
from mamtra.text.incremental import sentences
from mamtra.text.split import (
    CLOSED,
    SENTENCE_PAUSE,
    Piece,
    Reading,
    Segment,
    Splitter,
    clauses,
    nothing_to_say,
    paragraphs,
    read_pieces,
    split_text,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TextRules = Literal["mamtra", "cosyvoice2", "none"]
CONFIG_FILE = "text.json"
TOKENIZER_FILE = "tokenizer.json"
END_OF_PROMPT = "<|endofprompt|>"
SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", END_OF_PROMPT, "[breath]", "<strong>", "</strong>", "[noise]"),
    *("[laughter]", "[cough]", "[clucking]", "[accent]", "[quick_breath]", "<laughter>", "</laughter>", "[hissing]"),
    *("[sigh]", "[vocalized-noise]", "[lipsmack]", "[mn]"),
)
"""In the order of their ids, which follow those of the subwords."""
_NEEDS = ("A model that reads letters", "'mamtra[hub]'")
ASSISTANT = "You are a helpful assistant."
"""What CosyVoice 3 was trained to read before everything else, up to `END_OF_PROMPT`."""
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_MARK = re.compile(r"<\|.*?\|>")
_FOREIGN = re.compile(r"[^\W\d_a-zA-ZÀ-ÿ]")


def build_qwen_tokenizer(directory: Path, more: Sequence[str] = ()) -> Tokenizer:
    """CosyVoice 2's tokenizer from Qwen2's vocab.json and merges.txt.

    Args:
        directory: of the two files.
        more: special tokens after those of CosyVoice 2.

    Raises:
        MamTraError: a file is missing or damaged.
    """
    need("tokenizers", *_NEEDS)
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    for name in ("vocab.json", "merges.txt"):
        if not (directory / name).is_file():
            raise MamTraError(f"{directory / name} is missing, which the text tokenizer needs; get the model again.")
    try:
        tokenizer = Tokenizer(BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt")))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise MamTraError(f"{directory} has a damaged vocab.json or merges.txt; get the model again.") from error
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = (*SPECIAL_TOKENS, *more)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer


class BpeConfig(ClosedModel):
    """Contents of `text.json` for these models.

    Attributes:
        kind: the text units that the model reads.
        fewest_tokens: a chunk longer than this is closed before it would exceed `most_tokens`.
        most_tokens: see above.
        short_tokens: a last chunk shorter than this is joined to the one before.
        longest_tokens: no chunk is longer; a longer sentence is cut.
        assistant: what stands before the prompt's text, up to ``<|endofprompt|>``, of a model that was trained so; empty for
            others.
    """

    kind: Literal["bpe"] = "bpe"
    fewest_tokens: int = 60
    most_tokens: int = 80
    short_tokens: int = 20
    longest_tokens: int = 200
    assistant: str = ""


class BpeFrontend(Splitter):
    """Text to segments, which are chunks of sentences, and to ids.

    Args:
        tokenizer: of the `tokenizers` library.
        config: lengths of the chunks.
        rules: how text is normalised and divided: by this package's rules for English ("mamtra"), by those of the published
            CosyVoice 2 (`mamtra.text.cosyvoice_rules`), or not at all ("none").
    """

    reads_letters = True

    def __init__(self, tokenizer: Tokenizer, config: BpeConfig | None = None, rules: TextRules = "mamtra") -> None:
        self.config, self.rules, self._tokenizer = config or BpeConfig(), rules, tokenizer
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._tag = re.compile("|".join(re.escape(token) for token in special if not _MARK.fullmatch(token)) or "(?!)")

    @property
    def longest_ids(self) -> int:
        """Greatest number of text ids in a segment."""
        return self.config.longest_tokens

    @classmethod
    def load(cls, directory: Path | str, rules: TextRules = "mamtra") -> BpeFrontend:
        """Open the text files of a model directory.

        Args:
            directory: the model's.
            rules: how text is normalised and divided.

        Raises:
            MamTraError: a file is missing or damaged.
        """
        tokenizer = _open_tokenizer(Path(directory) / TOKENIZER_FILE)
        return cls(tokenizer, parse_model(BpeConfig, Path(directory) / CONFIG_FILE, "a text front end"), rules)

    @property
    def vocab_size(self) -> int:
        """Number of text ids."""
        return self._tokenizer.get_vocab_size()

    def normalize(self, text: str) -> str:
        """A text by the rules. This package's normalise English, line breaks and lists included; text with ``<|...|>`` marks, tags
        or another script is left as written between its first and last character, white space too: the model's tokenizer has
        ids for it.

        Raises:
            MamTraError: nothing in it can be spoken.
        """
        if not any(char.isalnum() for char in self._tag.sub("", _MARK.sub("", text))):
            raise nothing_to_say()
        if self.rules == "cosyvoice2":
            return cosyvoice_rules.normalise(text)
        if self.rules == "none":
            return text
        text = without_pronunciations(text).strip()
        if _MARK.search(text) or self._tag.search(text) or _FOREIGN.search(text):
            return text
        return normalize(text)

    def normalize_arrived(self, text: str) -> str:
        """A part of a text that is still arriving; CosyVoice 2 reads such text as written.

        Raises:
            MamTraError: nothing in it can be spoken.
        """
        return self.normalize(text) if self.rules == "mamtra" else text

    def arriving(self, parts: Iterable[str]) -> Iterator[Segment]:
        """Segments sentence by sentence; see `Splitter`."""
        return split_text(sentences(parts), self._pieces, SENTENCE_PAUSE)

    def iterate(self, text: str) -> Iterator[Segment]:
        """Segments of a text that is complete: sentences (and what colons and semicolons part) are joined up to
        `most_tokens`; text with ``<|...|>`` is cut like any other, except by CosyVoice 2's rules."""
        texts = paragraphs(text) if self.rules == "mamtra" else [text]
        return split_text(texts, self._pieces, SENTENCE_PAUSE)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, including special tokens in it."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids, without special tokens."""
        return self._tokenizer.decode(ids)

    def instruction(self, text: str) -> list[int]:
        """Ids of an instruction on how to speak.

        Raises:
            MamTraError: it is empty.
        """
        if not text.removesuffix(END_OF_PROMPT).strip():
            raise MamTraError("The instruction is empty; say how to speak, such as 'Speak slowly.'.")
        if text.endswith(END_OF_PROMPT):
            return self.encode(text)
        return self.encode(f"{self.config.assistant} {text.strip()}".strip() + END_OF_PROMPT)

    @property
    def opening(self) -> list[int]:
        """Ids that come first where ``<|endofprompt|>`` is neither in the prompt's text nor in the text; none for CosyVoice 2."""
        return self.encode(self.config.assistant + END_OF_PROMPT) if self.config.assistant else []

    def transcript(self, text: str) -> list[int]:
        """Ids of what is said in the recording of a voice, as one piece and without a full stop of ours.

        Raises:
            MamTraError: there are no words in it.
        """
        return self.encode(self.normalize(text))

    def _pieces(self, text: str) -> Iterable[Piece]:
        try:
            said = self.normalize(text)
        except MamTraError:
            return
        if self.rules != "mamtra":
            whole = self.rules == "none"
            yield from (
                (part, self.encode(part)) for part in ([text] if whole else cosyvoice_rules.chunks(text, self._length))
            )
            return
        for chunk in self._chunks(said):
            yield from read_pieces(chunk, self.config.longest_tokens, self._read)

    def _chunks(self, text: str) -> list[str]:
        config = self.config
        if text[-1] not in CLOSED:
            text += "。" if _FOREIGN.search(text[-1]) else "."
        chunks: list[str] = []
        current = ""
        for clause in clauses(text):
            joined = current + clause
            if self._length(joined) > config.most_tokens and self._length(current) > config.fewest_tokens:
                chunks.append(current)
                joined = clause
            current = joined
        if chunks and self._length(current) < config.short_tokens:
            chunks[-1] += current
        else:
            chunks.append(current)
        return [chunk.strip() for chunk in chunks if any(char.isalnum() for char in chunk)]

    def _read(self, text: str) -> Reading:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return Reading(encoding.ids, [end for _, end in encoding.offsets])

    def _length(self, text: str) -> int:
        return len(self.encode(text))


def _open_tokenizer(path: Path) -> Tokenizer:
    library = need("tokenizers", *_NEEDS)
    if not path.is_file():
        raise MamTraError(f"{path} is missing: the model directory is incomplete, fetch the model again.")
    try:
        return library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise MamTraError(
            f"{path} is not a tokenizer file ({printable(str(error))}): fetch the model again."
        ) from error
