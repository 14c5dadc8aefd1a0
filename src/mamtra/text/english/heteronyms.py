"""Which reading of a heteronym is meant (read, live, record, close ...), guessed from the neighbouring words."""

from __future__ import annotations

from collections.abc import Sequence

from mamtra.text.english.lexicon import DEFAULT
from mamtra.text.english.wordlists import listed

DETERMINERS = frozenset(
    listed(
        "the a an this these those my your his her its our their thy some any no every each another whose "
        "such many few "
        "several both all one two three four five six seven eight nine ten other last first next same own"
    )
)
BEFORE_BASE_VERB = frozenset(
    listed(
        "to will would can could may might must shall should do does did not never don't doesn't didn't won't wouldn't "
        "can't cannot couldn't shouldn't mustn't let's please i'll you'll he'll she'll we'll they'll it'll "
        "i'd you'd he'd "
        "she'd we'd they'd let help make makes made dare"
    )
)
SUBJECTS = frozenset(listed("i you he she it we they who which that there"))
BE = frozenset(
    listed("is are was were be been being am isn't aren't wasn't weren't i'm you're he's she's it's we're they're")
)
HAVE = frozenset(listed("have has had having i've you've we've they've hadn't haven't hasn't"))
DEGREE = frozenset(
    listed("very so too more most quite rather as how seem seems seemed become became get got feel felt")
)
PREPOSITIONS = frozenset(
    listed(
        "of in on at by for with from into upon about under over between through without against during within among "
        "toward towards after before since until beyond"
    )
)
OBJECTS = frozenset(listed("me you him it us them himself herself itself themselves myself yourself"))
_USUALLY_VERBS = frozenset(("live", "lives"))
_ADJECTIVES = frozenset(("invalid", "content", "close"))
_MINUTE_THINGS = frozenset(listed("detail details particle particles amount amounts quantity quantities trace"))
AFTER_NOUN = (
    PREPOSITIONS | BE | HAVE | frozenset(listed("to of and or but will would can could may might must shall should"))
)


def guess_tag(words: Sequence[str], place: int) -> str:
    """Penn-style tag of the word at `place`: VB, VBD, VBN, NOUN, ADJ, MODIFIER (before a noun), "" where nothing tells.

    Args:
        words: lower-case words of the sentence; punctuation marks are items of their own.
        place: index of the word in question.
    """
    word = words[place]
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    takes_object = after in DETERMINERS or after in OBJECTS
    if word == "minute":
        return "ADJ" if before in DEGREE or after in _MINUTE_THINGS else "NOUN"
    if before in BEFORE_BASE_VERB:
        return "VB"
    if before in HAVE:
        return "NOUN" if word.endswith("s") else "VBN"
    if before in BE or before in DEGREE:
        return "VBN" if after == "by" else "ADJ"
    if before in SUBJECTS:
        return "VBD"
    if before in DETERMINERS or before.endswith(("'s", "s'")):
        follows = after.isalpha() and after not in AFTER_NOUN and not takes_object and not word.endswith("s")
        return _before_noun(word) if follows and after not in SUBJECTS else "NOUN"
    if before in PREPOSITIONS:
        return _before_noun(word) if after.isalpha() and after not in AFTER_NOUN and not takes_object else "NOUN"
    if before in ("and", "or", "then") and after in PREPOSITIONS:
        return "VB"
    if before.endswith("ly") and len(before) > 4:
        return "VBD" if takes_object or after in PREPOSITIONS else "ADJ"
    if takes_object:
        return "VBD" if before.isalpha() else "VB"
    if not before.isalpha() and after in AFTER_NOUN and word not in _USUALLY_VERBS:
        return "NOUN"
    return "VB" if word in _USUALLY_VERBS else ""


def _before_noun(word: str) -> str:
    return "ADJ" if word in _ADJECTIVES else "MODIFIER"


def choose(readings: dict[str, str], tag: str) -> str:
    """The reading for a tag: its own, else that of its family (VERB for VB...), else the default."""
    if tag in readings:
        return readings[tag]
    if tag.startswith("VB"):
        return readings.get("VERB", readings[DEFAULT])
    if tag == "MODIFIER":
        return readings.get("ADJ", readings.get("NOUN", readings[DEFAULT]))
    return readings[DEFAULT]


def is_demonstrative(words: Sequence[str], place: int) -> bool:
    """Whether the "that" at `place` points (that one) rather than joins (said that he, the man that came)."""
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if not after.isalpha() and "'" not in after:
        return True
    second = words[place + 2] if place + 2 < len(words) else ""
    if before in (",", ";", "about") or "'" in before:
        return False
    if before in PREPOSITIONS or not before.isalpha():
        return True
    if after in SUBJECTS or after in DETERMINERS:
        return False
    if after in PREPOSITIONS:
        return after == "of"
    if not second.isalpha() and "'" not in second and not after.endswith("s"):
        return True  # "pronounced that word."
    return before in ("and", "but", "or", "is", "was", "all", "than", "like", "do", "did", "does", "at", "to")
