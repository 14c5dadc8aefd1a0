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
_ATE_QUALITIES = frozenset(
    listed(
        "aggregate alternate appropriate approximate articulate consummate degenerate deliberate duplicate elaborate graduate "
        "intimate moderate separate subordinate"
    )
)
"""Both how something is and what somebody does; "deliberate" and "elaborate" take no object as verbs."""
_STUDIES = frozenset(
    listed(
        "school schools student students program programs degree degrees studies level work course courses education record "
        "assistant assistants certificate admissions seminar research training class classes diploma"
    )
)
_TOWARDS = frozenset(
    listed(
        "go goes going gone went get got back return returned returning move moved moving apply applied applying admitted sent "
        "send lead leads led access limited similar according come came comes due prior applications on up down close next"
    )
)
_ARE_LEARNING = frozenset(
    listed("students graduates seniors kids children people classmates sons daughters most many few who")
)
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
    if word in _ATE_QUALITIES and (tag := _quality(word, words[:place], after)):
        return tag
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


def _quality(word: str, before: Sequence[str], after: str) -> str:
    """ADJ for "went to graduate school", "made elaborate plans"; VB for "the lights alternate."; "" where neither is sure."""
    last, second = ("", "", *before)[-1], ("", "", *before)[-2]
    qualifies = (
        after.isalpha() and after not in AFTER_NOUN | DETERMINERS | OBJECTS | SUBJECTS and not after.endswith("ly")
    )
    qualifies = qualifies and after not in (
        "today",
        "tomorrow",
        "now",
        "here",
        "there",
        "again",
        "together",
        "next",
        "when",
        "if",
    )
    if word == "graduate":
        if last in _ARE_LEARNING:
            return "VB"
        return "ADJ" if after in _STUDIES else ""
    if qualifies:
        no_verb = word in ("deliberate", "elaborate") and last not in BEFORE_BASE_VERB
        told = no_verb or (last == "to" and second in _TOWARDS) or last in ("made", "make", "makes")
        return "ADJ" if told else ""
    plural = last.endswith("s") and len(last) > 3 and not last.endswith(("ss", "us", "is", "'s"))
    counted = second in DETERMINERS or second in PREPOSITIONS or not second
    return "VB" if plural and counted and last not in BE | HAVE | DEGREE | BEFORE_BASE_VERB else ""


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
