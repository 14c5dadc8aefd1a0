"""Word and character errors between what was to be said and what was heard."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mamtra.errors import MamTraError

Normaliser = Callable[[str], str]


class Errors(NamedTuple):
    """Counts over any number of utterances; ``+`` adds them up.

    Attributes:
        word_errors: insertions, deletions and substitutions.
        words: of the references.
        char_errors: the same for characters, blanks included.
        chars: of the references.
    """

    word_errors: int = 0
    words: int = 0
    char_errors: int = 0
    chars: int = 0

    def __add__(self, other: Errors) -> Errors:  # type: ignore[override]
        return Errors(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def wer(self) -> float:
        """Percent of words wrong; counts are summed before they are divided, and it may exceed 100."""
        return 100 * self.word_errors / max(1, self.words)


def comparable(text: str, normalise: Normaliser) -> str:
    """The form in which references and hypotheses are compared.

    After ``normalise``, letters spelt one by one and groups of digits are joined ("f b i" is "fbi", "5 30" is "530"),
    and all but letters, digits and apostrophes goes.
    """
    text = normalise(text.replace("’", "'")).lower()
    text = re.sub(r"\b[a-z](?: [a-z])+\b", lambda found: found[0].replace(" ", ""), text)
    text = re.sub(r"(?<=\d) (?=\d)", "", text)
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text).split())


def edit_distance(one: Sequence, two: Sequence) -> int:
    """Least number of insertions, deletions and substitutions between two sequences."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            diagonal, row[j] = row[j], min(diagonal + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def count_errors(reference: str, hypothesis: str, normalise: Normaliser) -> Errors:
    """Errors of one utterance, both texts in their comparable form."""
    reference, hypothesis = comparable(reference, normalise), comparable(hypothesis, normalise)
    words = reference.split()
    return Errors(
        edit_distance(words, hypothesis.split()), len(words), edit_distance(reference, hypothesis), len(reference)
    )


def english_normaliser() -> tuple[Normaliser, str]:
    """Whisper's English text normaliser (digits, contractions, American spelling), and what it is.

    Raises:
        MamTraError: its package is missing.
    """
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise MamTraError("Counting word errors needs whisper-normalizer; pip install 'mamtra[eval]'.") from error
    from importlib import metadata

    return (
        EnglishTextNormalizer(),
        f"EnglishTextNormalizer of whisper-normalizer {metadata.version('whisper-normalizer')}",
    )
