"""Heteronyms that grammar alone does not tell apart: what stands near them decides (lead pipe, bass guitar, bow tie).

Each rule gives the reading of a word for its neighbours, or None where the usual guess by part of speech shall decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from mamtra.text.english.wordlists import listed

Rule = Callable[[Sequence[str], int], str | None]

_LEAD_THINGS = frozenset(
    listed(
        "pipe pipes piping paint paints weight weights poisoning acid bullet bullets shot pencil pencils mine "
        "mines ore glass  "
        "crystal oxide battery batteries foil exposure levels solder roof roofs sheet sheets sheeting "
        "contamination content  "
        "sinker sinkers apron aprons balloon type coffin"
    )
)
_MADE_OF = frozenset(listed("of contains containing heavy like with molten pure as tin zinc copper into"))
_METALS = frozenset(listed("zinc copper tin mercury arsenic iron steel cadmium silver gold metal metals ore"))
_BASS_FISH = frozenset(
    listed(
        "fish fishing fished lake caught catch swam river trout pond fillet fillets grilled net hook bait "
        "boat stocked sea  "
        "striped largemouth smallmouth black fried salmon perch tournament angler anglers spawn"
    )
)
_SHIP = frozenset(
    listed("ship ship's boat stern deck sail sailed vessel water waves rowed canoe yacht hull mast port starboard")
)
_BEND_AFTER = frozenset(listed("to down out before low deeply politely slightly once again gracefully head heads"))
_BEND_BEFORE = frozenset(
    listed(
        "to must will would should shall can could may might they we i you and take takes took taking made "
        "deep low polite slight final"
    )
)
_ARCHERY = frozenset(
    listed("arrow arrows tie ties violin fiddle cello ribbon hair string strings archer quiver gift hunting legs")
)
_DIVE_AFTER = frozenset(
    listed(
        "into in off under down from for head headfirst deep straight through underneath beneath behind over "
        "right toward below"
    )
)
_BIRD_BEFORE = frozenset(
    listed("a an the white mourning turtle gray grey wild one each every this that rock little of dead beautiful and")
)
_HABIT = frozenset(
    listed(
        "every always usually often sometimes daily nightly each too never rarely seldom weekly nowadays "
        "regularly generally fast slowly"
    )
)
_PAST = frozenset(listed("yesterday last ago already once earlier had then when was were before"))
_PLURAL_SUBJECTS = frozenset(listed("i you we they who people children students"))
_COIL_AFTER = frozenset(listed("up around down its round his her through their itself tight tightly"))
_COILED = frozenset(listed("clock watch string thread yarn wire rope bandage scarf toy"))
_CLOTH = frozenset(
    listed(
        "dress shirt fabric paper cloth coat sleeve pants jeans sail tent page curtain net muscle ligament retina bag skin map "
        "skirt sweater jacket glove tissue cartilage tendon meniscus canvas seam"
    )
)
_MENDED = frozenset(listed("tore torn ripped rip mend mended sewed patched wear"))
_FARMED = frozenset(listed("fresh local organic farm seasonal the of our some more and"))
_SENT_LIVE = frozenset(
    listed(
        "wire wires audience broadcast broadcasts show shows concert concerts performance performances stream streams album "
        "recording recordings coverage event events ammunition animals bait chat demo video feed band television tv music sports "
        "theater theatre studio updates"
    )
)
_CHOPPING = frozenset(
    listed(
        "chop chops chopped chopping wood woods log logs tree trees forest sharp sharpen sharpened sharpening blade blades shovel "
        "shovels hammer hammers saw saws pick picks hatchet hatchets sword swords spear spears knife knives firefighter "
        "firefighters lumberjack lumberjacks vikings viking throw throws throwing threw thrown handle handles battle stone bronze "
        "iron steel carried carrying carry wield wielded wielding swing swinging swung ice shed tool tools"
    )
)
_REASONED = frozenset(
    listed(
        "legal theoretical scientific neural biological genetic moral philosophical factual logical conceptual vector orthonormal "
        "orthogonal empirical statutory psychological cognitive mathematical religious ideological molecular"
    )
)
_STRINGED = frozenset(listed("string strings instrument instruments legs out"))
_CITY_OF = {"reading": ("england", "ɹˈɛdɪŋ"), "nice": ("france", "nˈis")}
_RESUME_BEFORE = frozenset(
    listed("my your his her their our a the updated this one's attached impressive on strong of")
)


def _near(words: Sequence[str], place: int, reach: int = 6) -> set[str]:
    return set(words[max(0, place - reach) : place + reach + 1])


def _next(words: Sequence[str], place: int) -> str:
    return words[place + 1] if place + 1 < len(words) else ""


def _before(words: Sequence[str], place: int) -> str:
    return words[place - 1] if place else ""


def _lead(words: Sequence[str], place: int) -> str | None:
    before, after = _before(words, place), _next(words, place)
    if after in _LEAD_THINGS or (
        after in ("-", "and", "or") and words[place + 2 : place + 3] and words[place + 2] in _METALS
    ):
        return "lˈɛd"
    if before in ("and", "or") and place > 1 and words[place - 2] in _METALS:
        return "lˈɛd"
    metal = before in _MADE_OF and (not after.isalpha() or after in ("in", "and", "or", "are", "is", "was"))
    return "lˈɛd" if (metal and before not in ("into", "with", "and")) or (before == "molten") else None


def _if_near(others: Set[str], said: str, otherwise: str | None = None, reach: int = 6) -> Rule:
    return lambda words, place: said if _near(words, place, reach) & others else otherwise


def _if_next(others: Set[str], said: str, otherwise: str | None = None) -> Rule:
    return lambda words, place: said if _next(words, place) in others else otherwise


def _bow(words: Sequence[str], place: int) -> str | None:
    before, after, near = _before(words, place), _next(words, place), _near(words, place)
    if near & _ARCHERY and after not in ("to", "before"):
        return "bˈO"
    if near & _SHIP and before in ("the", "ship's", "boat's", "her", "its"):
        return "bˈW"
    if before in _BEND_BEFORE or (after in _BEND_AFTER and before not in ("the", "his", "her", "my", "its", "violin")):
        return "bˈW"
    took = place > 1 and words[place - 2] in ("take", "takes", "took", "taking", "made", "make", "gave", "with")
    deep = before in ("a", "deep", "low", "slight", "little", "stiff", "courtly", "graceful", "formal")
    if deep and (took or after in ("to", "and", ",", ".")) and (took or before != "a"):
        return "bˈW"
    return None


def _tear(words: Sequence[str], place: int) -> str | None:
    noun = _before(words, place) in ("a", "the", "this", "that", "small", "big", "large", "long", "and")
    return "tˈɛɹ" if noun and _near(words, place) & (_MENDED | _CLOTH) else None


def _produce(words: Sequence[str], place: int) -> str | None:
    after = _next(words, place)
    noun = not after.isalpha() or after in ("is", "was", "from", "in", "at", "and", "or", "for", "section", "aisle")
    return "pɹˈOdˌus" if noun and _before(words, place) in _FARMED else None


def _city(words: Sequence[str], place: int) -> str | None:
    country, said = _CITY_OF[words[place]]
    return said if [*words[place + 1 : place + 3]] == [",", country] else None


def _verb_before_to(verb: str) -> Rule:
    def rule(words: Sequence[str], place: int) -> str | None:
        begins = place == 0 or words[place - 1] in (",", "and", "or", ";", ":", "-")
        return verb if begins and _next(words, place) == "to" else None

    return rule


def _dove(words: Sequence[str], place: int) -> str | None:
    before, after = _before(words, place), _next(words, place)
    if after in _DIVE_AFTER and before not in _BIRD_BEFORE:
        return "dˈOv"
    return "dˈOv" if before in ("he", "she", "it", "they", "we", "i", "who", "dove") else None


def _read(words: Sequence[str], place: int) -> str | None:
    before, near = _before(words, place), _near(words, place, 8)
    if before in ("he", "she", "it"):
        return "ɹˈɛd"
    if before in _PLURAL_SUBJECTS and near & _HABIT and not near & _PAST:
        return "ɹˈid"
    return None


def _polish(words: Sequence[str], place: int) -> str | None:
    """The capital has chosen already, but for the first word of a sentence."""
    opens = place == 0 or not _before(words, place)[:1].isalpha()
    return (
        "pˈɑlɪʃ"
        if opens and _next(words, place) in ("the", "your", "it", "this", "that", "them", "my", "a", "all", "until")
        else None
    )


def _wound(words: Sequence[str], place: int) -> str | None:
    after = _next(words, place)
    coils = after in _COIL_AFTER or (after in ("the", "a", "it") and _COILED & _near(words, place))
    return "wˈWnd" if coils and _before(words, place) not in ("the", "a", "this", "that", "to") else None


def _resume(words: Sequence[str], place: int) -> str | None:
    return "ɹˈɛzəmˌA" if _before(words, place) in _RESUME_BEFORE else None


RULES: dict[str, Rule] = {
    "lead": _lead, "bow": _bow, "dove": _dove, "read": _read, "polish": _polish, "wound": _wound, "resume": _resume, "tear": _tear,
    "produce": _produce, "reading": _city, "nice": _city, "live": _if_next(_SENT_LIVE, "lˈIv"),
    "bowed": _if_next(_STRINGED, "bˈOd", "bˈWd"), "bass": _if_near(_BASS_FISH, "bˈæs", "bˈAs"),
    "axes": _if_near(_CHOPPING, "ˈæksᵻz"), "bases": _if_near(_REASONED, "bˈAsˌiz", "bˈAsᵻz", reach=2),
    "object": _verb_before_to("əbʤˈɛkt"), "refuse": _verb_before_to("ɹəfjˈuz"),
}  # fmt: skip
