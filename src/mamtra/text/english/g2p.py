"""Words to phonemes: lexicon, context, endings, compounds, and a letter-to-sound model for the rest.

The format of the output (weak forms, stress by capitals, quotation marks) is that of misaki's American English reader
(hexgrad, Apache-2.0), which the training speech was made with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mamtra.text.english.heteronym_context import RULES
from mamtra.text.english.heteronyms import choose, guess_tag, is_demonstrative
from mamtra.text.english.lexicon import DEFAULT, LONGEST_WORD, Lexicon
from mamtra.text.english.morphology import add_s, inflected
from mamtra.text.english.patterns import Pattern
from mamtra.text.english.phonemes import (
    CONSONANTS,
    PAUSES,
    PRIMARY,
    PUNCTUATION,
    SECONDARY,
    VOWELS,
    demote,
    emphasised,
    with_stress,
    without_stress,
)
from mamtra.text.english.wordlists import listed

_TOKEN = Pattern(
    r"(?P<given>\[[^\[\]\s]+\]\(/[^/\s]+/\)(?:'s\b)?)"
    r"|(?P<word>(?:(?<!\w)'(?=(?i:tis|twas|twere)\b))?[^\W\d_]+(?:['-][^\W\d_]+)*'?)"
    r"|(?P<mark>[^\w\s])|(?P<space>\s+)"
)
_GIVEN = Pattern(r"\[(.+)\]\(/(.+)/\)('s)?")
_LETTERS = Pattern(r"[A-Z](?:-[A-Z])+(?:'?s)?|[A-HJ-Z]'s")
_SHORT_PARTS = frozenset(
    listed(
        "air arm bar bed bee big box boy bus car cat cow cup day dog ear egg end eye fan far fat fir fly fog "
        "fox god gun "
        "hot ice jam jet key leg lid log low mad man map men net new nut off oil old out pan pen pet pie pig "
        "pin pot rag "
        "rat raw red rib rod row rug sea set sky son sun tax tea tie tin tip toe top toy tub two wax way web wet"
    )
)

_AFTER_LETTERS = frozenset((*",.;:?!)", "equals", "squared", "cubed"))
"""What no article stands before."""
_DRAWN_OUT = Pattern(r"(.)\1{2,}")
_CONTRACTIONS = {"'ve": "əv", "'ll": "ᵊl", "'d": "d", "'re": "əɹ", "n't": "ᵊnt", "'m": "m"}


@dataclass
class Token:
    """A word or a punctuation mark of a sentence, filled in from the last one to the first."""

    text: str
    is_word: bool
    end: int = 0
    """Where it ends in the sentence."""
    space_after: bool = False
    phonemes: str = ""


def tokenise(text: str) -> list[Token]:
    """Words (with inner apostrophes and hyphens) and punctuation marks."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "space":
            if tokens:
                tokens[-1].space_after = True
        else:
            tokens.append(Token(match.group(), match.lastgroup != "mark", match.end()))
    if tokens:
        tokens[-1].space_after = False
    return tokens


class G2P:
    """Grapheme-to-phoneme reader of one sentence at a time.

    Args:
        lexicon: known words.
        letter_to_sound: lower-case letters of an unknown word -> phonemes.
    """

    def __init__(self, lexicon: Lexicon, letter_to_sound: Callable[[str], str]) -> None:
        self._lexicon = lexicon
        self._letter_to_sound = letter_to_sound

    def __call__(self, text: str) -> str:
        """Phoneme string of a sentence of spoken words (no digits or symbols) and punctuation."""
        return "".join(t.phonemes + (" " if t.space_after and t.phonemes else "") for t in self.read(text)).strip()

    def read(self, text: str) -> list[Token]:
        """The words and marks of a sentence with their phonemes; see `__call__`."""
        tokens = tokenise(text)
        words = [_as_word(token.text) for token in tokens]
        vowel_next: bool | None = None  # None: a pause or the end follows
        for place in reversed(range(len(tokens))):
            token = tokens[place]
            if token.is_word:
                token.phonemes = self._in_context(token.text, words, place, vowel_next)
            elif token.text == '"':
                opens = place == 0 or tokens[place - 1].space_after or tokens[place - 1].text in "(—"
                token.phonemes = "“" if opens and not token.space_after else "”"
            elif token.text in PUNCTUATION:
                token.phonemes = token.text
            for symbol in token.phonemes:
                if symbol in PAUSES:
                    vowel_next = None
                    break
                if symbol in VOWELS or symbol in CONSONANTS:
                    vowel_next = symbol in VOWELS
                    break
        return tokens

    def spell(self, letters: str) -> str:
        """Letter names said as one word: stress on the last, lesser stress on the others."""
        names = [without_stress(self._letter(c)) for c in letters]
        marked = [with_stress(name, SECONDARY) for name in names[:-1]] + [with_stress(names[-1], PRIMARY)]
        return "".join(marked)

    def _letter(self, letter: str) -> str:
        readings = self._lexicon.exact(letter.upper())
        return readings[DEFAULT] if readings else self._letter_to_sound(letter.lower())

    def _in_context(self, text: str, words: list[str], place: int, vowel_next: bool | None) -> str:
        """Function words, whose form depends on what follows; every other word goes to `_word`."""
        given = _GIVEN.fullmatch(text)
        if given:
            phonemes = given[2].replace("_", " ")
            return add_s(phonemes) if given[3] else phonemes
        word = words[place]
        own = self._lexicon.own(text)
        if own is not None:
            return self._select(own, "", words, place)
        start = place == 0 or not words[place - 1][-1].isalpha()
        pause = vowel_next is None
        after = words[place + 1] if place + 1 < len(words) else ""
        if word == "a":
            listed_before = place > 0 and words[place - 1] == ","  # B, A and D
            alone = len(words) == 1 or after in _AFTER_LETTERS
            is_letter = alone or (text == "A" and (pause or not start or listed_before))
            return "ˈA" if is_letter else "ɐ"
        if word == "an":
            return "ɐn"
        if text == "I":
            return "ˌI"
        if word == "the":
            return "ði" if vowel_next else "ðə"
        if word == "to" and not pause:
            return "tʊ" if vowel_next else "tə"
        if text == "am" and not pause:
            return "ɐm"
        if word == "in":
            return "ˈɪn" if pause else "ɪn"
        if word == "used" and after == "to":
            return "jˈust"
        told = RULES[word](words, place) if word in RULES else None
        if told is not None:
            return told
        tag = "PAUSE" if pause else ""
        if word == "that":
            tag = "DT" if is_demonstrative(words, place) else ""
        return self._word(text, lambda readings: self._select(readings, tag, words, place))

    @staticmethod
    def _select(readings: dict[str, str], tag: str, words: list[str], place: int) -> str:
        if len(readings) == 1 or words[place] == "used":  # "used to" has been dealt with
            return readings[DEFAULT]
        return readings[tag] if tag in readings else choose(readings, guess_tag(words, place))

    def _word(self, text: str, select: Callable[[dict[str, str]], str]) -> str:
        if _LETTERS.fullmatch(text):
            spelt = self.spell(re.sub(r"'?s$|-", "", text))
            return add_s(spelt) if text.endswith("s") else spelt
        phonemes = self._known(text, select)
        if phonemes is None and "-" in text:
            return self._hyphenated(text.strip("-").split("-"), select)
        if phonemes is None:
            phonemes = self._unknown(text)
        if text == text.lower():
            return phonemes
        if len(text) > 1 and text == text.upper():
            return emphasised(phonemes)
        return with_stress(phonemes, SECONDARY)

    def _known(self, text: str, select: Callable[[dict[str, str]], str]) -> str | None:
        """From the lexicon, or from a stem of the lexicon and an ending."""

        def read(word: str) -> str | None:
            readings = self._lexicon.readings(word)
            if readings is None and word != word.lower():
                readings = self._lexicon.readings(word.lower())
            return select(readings) if readings else None

        found = read(text)
        if found is None and text.endswith("'"):
            found = read(text[:-1]) or inflected(text[:-1], read)
        return found or inflected(text, read) or (inflected(text.lower(), read) if text != text.lower() else None)

    def _hyphenated(self, parts: list[str], select: Callable[[dict[str, str]], str]) -> str:
        joined = "".join(parts)
        if parts[0].lower() == "to" and joined in self._lexicon:
            return self._word(joined, select)  # to-day, to-morrow
        read = [self._word(part, select) for part in parts]
        stressed = [place for place, phonemes in enumerate(read) if PRIMARY in phonemes]
        if len(stressed) > (len(read) + 1) // 2:
            # Of several stressed parts the shorter ones give way, earlier ones first.
            for place in sorted(stressed, key=lambda p: (_weight(read[p]), p))[: len(read) // 2]:
                read[place] = demote(read[place])
        return "".join(read)

    def _unknown(self, text: str) -> str:
        word = text.lower()
        if word.endswith("'s"):
            return add_s(self._read_part(text[:-2]))
        head, apostrophe, tail = text.rpartition("'")
        if head and apostrophe + tail.lower() in _CONTRACTIONS:
            return self._read_part(head) + _CONTRACTIONS[apostrophe + tail.lower()]
        if word.startswith("o'") and len(word) > 3:
            return "ˌO" + self._read_part(text[2:])
        word = word.replace("'", "")
        drawn = self._drawn_out(word)
        if drawn is not None:
            return drawn
        if len(word) == 1 or (text == text.upper() and len(word) <= 5) or not re.search("[aeiouyà-öø-ÿ]", word):
            return self.spell(word)
        return self._compound(word) or self._letter_to_sound(word) or self.spell(word)

    def _drawn_out(self, word: str) -> str | None:
        """A known word with a letter repeated for effect: "sooo", "nooo", "shhhh"."""
        if not _DRAWN_OUT.search(word):
            return None
        for repeats in (3, 2, 1):
            shorter = _DRAWN_OUT.sub(lambda match, times=repeats: match[1] * times, word)
            known = self._lexicon.readings(shorter)
            if known:
                return known[DEFAULT]
        return None

    def _read_part(self, text: str) -> str:
        """The stem of an unknown word, which may itself be known."""
        return self._known(text, lambda readings: readings[DEFAULT]) or self._unknown(text)

    def _compound(self, word: str) -> str | None:
        """Two known words written as one: the first keeps its stress and the second's is lessened."""
        if len(word) > LONGEST_WORD:
            return None
        best: tuple[int, str, str] | None = None
        for cut in range(3, len(word) - 2):
            parts = word[:cut], word[cut:]
            if any(len(p) < 4 and p not in _SHORT_PARTS for p in parts) or not all(map(self._lexicon.exact, parts)):
                continue
            if best is None or min(map(len, parts)) > best[0]:
                best = (min(map(len, parts)), *parts)
        if best is None or (best[0] < 4 and len(word) < 7):
            return None
        first, second = ((self._lexicon.exact(part) or {})[DEFAULT] for part in best[1:])
        return first + (demote(second) if PRIMARY in first else second)  # snowday, but without


def _as_word(text: str) -> str:
    """The lower-case word that stands for a token among its neighbours."""
    given = _GIVEN.fullmatch(text)
    return (given[1].split("_")[0] if given else text).lower()


def _weight(phonemes: str) -> int:
    """Length of a word in sounds, where diphthongs and affricates count twice."""
    return len(phonemes) + sum(symbol in "AIOQWYʤʧ" for symbol in phonemes)
