"""Word and character errors between the reference and the hypothesis of the ASR."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

from mamtra.evaluate.alignment import edit_distance
from mamtra.runtime.optional import need

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
        """Word error rate in percent: counts are summed before they are divided, and it may exceed 100."""
        return 100 * self.word_errors / max(1, self.words)


def comparable(text: str, normalise: Normaliser) -> str:
    """The form in which references and hypotheses are compared.

    After ``normalise``, spelt letters and groups of digits are joined ("f b i" becomes "fbi", "5 30" becomes "530"), and
    everything but letters, digits and apostrophes is removed.
    """
    text = normalise(text.replace("’", "'")).lower()
    text = re.sub(r"\b[a-z](?: [a-z])+\b", lambda found: found[0].replace(" ", ""), text)
    text = re.sub(r"(?<=\d) (?=\d)", "", text)
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text).split())


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
    module = need("whisper_normalizer.english", "Counting word errors")
    version = metadata.version("whisper-normalizer")
    return module.EnglishTextNormalizer(), f"EnglishTextNormalizer of whisper-normalizer {version}"
