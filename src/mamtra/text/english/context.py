"""What stands around a match: bounded looks to both sides, and the rules that several kinds of quantities share."""

from __future__ import annotations

import re

from mamtra.text.english.patterns import Pattern
from mamtra.text.english.wordlists import STARTS_SENTENCE, listed

_REACH = 60

FUNCTION_WORDS = frozenset(
    listed(
        "a about above according across after against ago all along also although am among an and any are around as at "
        "away back be because been before behind being below beneath between beyond both but by can could did do does "
        "down during each earlier either else even ever every except few for from had has have he her here hers him his "
        "how however i if in including inside instead into is it its just last later less like many may me might mine "
        "more most much must my near neither never next no nor not now of off often on once one only onto or other our "
        "out over own past per plus quite rather round she should since so some soon still such than that the their "
        "them then there these they this those though through throughout till to today together tomorrow too toward "
        "towards under unless until up upon us very via was we well were what when where whether which while who whom "
        "whose why will with within without would yesterday yet you your went came goes comes cost costs left remained"
    )
)
_DETERMINER = Pattern(
    r"(?:\b(an?|the|this|that|his|her|my|our|your|their|its|each|every|another|any|no|one|some)|'s?)\s+"
    r"(?:(?:new|mere|whole|full|single|second|first|third|last|next|proposed|estimated|reported|additional|extra|annual"
    r"|total|crisp|record|recent|further|planned|massive|huge|big|small|cool|hefty|modest|initial|final|daily|monthly"
    r"|weekly|yearly|standard|typical|short|long|quick|[a-z]+ly)\s+){0,2}$",
    re.IGNORECASE,
)
_NEXT_WORD = Pattern(r"[\s-]([A-Za-z]+)")
_BUYING = frozenset(
    listed(
        "bill bills bonus budget bond bonds contract contracts deal deals debt deficit donation fee fees fine fines fund funds "
        "gift grant grants house investment job jobs lawsuit loan loans lottery mansion note notes order price prize prizes "
        "program project property question ransom reward sale settlement stake surplus tag ticket tickets tip upgrade valuation "
        "wager salary salaries raise raises pledge bounty payout check checks weight weights bag bags box boxes bottle bottles "
        "resistor resistors dash run race races sprint walk turn turns drive hike ride swim nap cable cables lens lenses "
        "dumbbell dumbbells bulb bulbs angle angles clock clocks delay delays film films flight flights lesson lessons meeting "
        "meetings movie movies rope ropes session sessions talk talks trip trips video videos battery batteries charger "
        "chargers pack packs jar jars"
    )
)


def before(match: re.Match[str], length: int = _REACH) -> str:
    """The characters before a match."""
    return match.string[max(0, match.start() - length) : match.start()]


def after(match: re.Match[str], length: int = _REACH) -> str:
    """The characters after a match."""
    return match.string[match.end() : match.end() + length]


def ends_sentence(match: re.Match[str]) -> bool:
    """Whether a full stop at the end of the match also ends the sentence: nothing or a new sentence follows."""
    rest = after(match)
    if STARTS_SENTENCE.match(rest):
        return True
    return not rest.strip("\"')] ") and len(rest) < _REACH


def stop(match: re.Match[str], expansion: str) -> str:
    """The expansion, with a full stop where the abbreviation's own one also ended the sentence."""
    return expansion + ("." if match[0].endswith(".") and ends_sentence(match) else "")


def is_attributive(match: re.Match[str]) -> bool:
    """Whether an amount describes the noun after it, and so takes the singular: "a five dollar bill"."""
    following = _NEXT_WORD.match(after(match))
    if following is None:
        return False
    word = following[1]
    determiner = _DETERMINER.search(before(match))
    noun = word in ("can", "will") and determiner is not None and (determiner[1] or "").lower() in ("a", "an")
    if (word.lower() in FUNCTION_WORDS and not noun) or word.endswith("ly"):
        return False
    if determiner is None:
        return word in _BUYING
    # "the ten dollars stolen", but "a ten dollar stolen watch"
    return (determiner[1] or "").lower() in ("a", "an") or not word.endswith(("ed", "en"))
