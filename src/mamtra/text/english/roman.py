"""Roman numerals, told from the pronoun I, initials and letters that label things by what stands around them."""

from __future__ import annotations

import re

from mamtra.text.english.context import FUNCTION_WORDS, after, before
from mamtra.text.english.numbers import cardinal, from_roman, ordinal, year
from mamtra.text.english.patterns import Pattern
from mamtra.text.english.wordlists import STARTS_SENTENCE, listed

_REIGNS = (
    ""
    "Henry|Louis|Charles|George|Edward|James|William|Richard|Elizabeth|Mary|Philip|Francis|Frederick|Alexander|Nicholas"
    "|Catherine|Peter|Ivan|Leopold|Albert|Ferdinand|Alfonso|Napoleon|Pius|Benedict|Gregory|Clement|Innocent|Leo|Paul"
    "|John|Urban|Ramses|Rameses|Ptolemy|Darius|Xerxes|Otto|Harold|Robert|Victoria|Margaret|Christian|Gustav|Haakon"
    "|Wilhelm|Amenhotep|Thutmose|Cleopatra|Mehmed|Murad|Suleiman|Umberto|Felipe|Carlos|Boniface|Julius|Sixtus|Adrian"
    "|Maximilian|Joseph|Olav|Carl|Karl|Malcolm|Kenneth|David|Stephen|Harald|Vittorio|Emmanuel|Isabella|Juan|Pedro"
)
_NUMBERED = (
    ""
    "Chapter|Part|Act|Scene|Volume|Book|Section|Article|Phase|Type|Class|Title|Level|Stage|Grade|War|Bowl|Apollo|Figure"
    "|Table|Appendix|Unit|Round|Step|Mark|Episode|Rocky|Fantasy|Saturn|Polaris|Trident|Division|Canto|Symphony|Season"
    "|Schedule|Exhibit|Amendment|Annex|Lesson|Verse|Psalm|Vatican|Quarter|Olympiad|Gemini|Dynasty|Factor|Tier|Plate"
    "|Ch\\.|Vol\\.|Pt\\.|Fig\\.|Sec\\.|Bk\\.|Art\\.|Mk\\.?"
)
_ABBREVIATED = {
    "ch": "Chapter", "vol": "Volume", "pt": "Part", "fig": "Figure", "sec": "Section", "bk": "Book", "art": "Article",
    "mk": "Mark", "p": "page", "pp": "pages",
}  # fmt: skip
_HAS_SMALL = frozenset(listed("act scene chapter part section page p volume book canto verse article appendix"))
_ABOVE_TEN = frozenset(
    listed("chapter part act scene volume book canto article war bowl apollo symphony season title mark")
)
_ABOVE_TEN |= frozenset(("fantasy", "rocky", "verse", "psalm", "lesson", "amendment", "olympiad", "episode"))
# What can only be a numeral: no word, no size, no disc.
_NUMERAL = r"(?:M{1,3}(?=CM|DC|X|C)|)(?:CM|CD(?=[XVI])|D?C{1,3}(?=[XLVI])|)(?:X[CL](?=[IVX])|L?X{1,3}|L|XC)?(?:IX|IV|V?I{1,3}|V)?"
_REIGN = Pattern(
    rf"\b((?:{_REIGNS}|[A-Z][a-z]+ (?:Paul|Frederick|William|Albert|Emmanuel|Philippe)))\s+([IVXL]+)\b(\.?)"
)
_RULER = Pattern(
    r"\b(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Sultan|Prince|Kaiser|Saint|Pharaoh|Duke|under|of)\s+$"
)
_NUMBERED_RE = Pattern(rf"\b((?:{_NUMBERED})s?)\s+([IVXLCDM]+)\b(?!['-]\w)(\.?)", re.IGNORECASE)
_SMALL = Pattern(
    rf"\b((?:{_NUMBERED}|pages?|pp?\.)s?)\s+(?=[ivx])((?:x{{0,2}})(?:ix|iv|v?i{{0,3}}))(?:(\s?[-–]\s?|\s+(?:to|and)\s+)"
    r"(?=[ivx])((?:x{0,2})(?:ix|iv|v?i{0,3})))?(?![\w'])(?=(\s+\w)?)",
    re.IGNORECASE,
)
_AS_ORDINAL = Pattern(r"\b([IVX]{1,6})(?:st|nd|rd|th)\b")
_YEAR = Pattern(r"(?<![\w.-])(?=[MDCLXVI]{4,})(M{1,2}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?![\w'-])")
_IN_PART = Pattern(
    r"\b(?:in|on|for|(?:in|on|for) (?:my|your|his|her|our|their|its|large|good|great|no small))\s+$", re.I
)
_SPAN = Pattern(rf"\b((?:{_NUMBERED})s?)\s+([IVXL]+)\s?[-–]\s?([IVXL]+)(?![\w'])", re.IGNORECASE)
_SUFFIX = Pattern(r"\b([A-Z][a-z]+\s+(?:[A-Z]\.?\s+)?[A-Z][a-z]+),?\s+(II|III|IV)\b")
_LONE = Pattern(
    r"(?<=[a-z]\s)(II|III|IV|VI|VII|VIII|IX|XI|XII|XIII|XIV|XV|XVI|XVII|XVIII|XIX|XX|XXI|XXII|XXIII|XXIV|XXV|X{3})\b"
)
_COUNTED = r"century|centuries|dynasty|Century|Dynasty|Olympiad|Olympics|Congress|Corps|Legion"
_NTH = Pattern(rf"\b([IVX]{{1,6}})(?=(?:(?:\s?[-–]\s?|\s+(?:and|to|or)\s+)[IVX]{{1,6}})?\s+(?:{_COUNTED})\b)")
_HEADING = Pattern(r"^\s*([IVXLC]{2,9})(?=\s*$|\s*[.:)—–-](?:\s|$))")
_HEADING_ONE = Pattern(
    r"^\s*([IVX])(?=\.\s+(?:The|A|An|In|Of|On|Introduction|Conclusion|Overview|Background|Methods?|Results?|Discussion)\b)"
)
_INLINE_ITEM = Pattern(r"(?<![\w(])(\(?)(x{0,2}(?:ix|iv|v?i{1,3}|v|(?<=x)))\)")
_INTRAVENOUS = Pattern(r"(?:\b(?:an?|her|his|my|the|their|via|through|with|of|by|on)\s+$)")
_SAYS_I = frozenset(
    listed(
        "am have think thought know knew believe believed guess guessed suppose supposed hope hoped wish wished want "
        "need like love hate read wrote write saw see said say told found find took take made make got get gave give "
        "bought borrowed used use chose teach taught learned studied own keep watch watched miss missed buy sell sold "
        "eat ate drink drank cook cooked sing sang wear wore drive drove run ran call called help helped try tried ask "
        "asked opened start skip skipped fly flew pick picked play played live lived work worked heard hear felt feel "
        "remember remembered forgot mean meant always never just really also still only can could will would should "
        "must may might shall do did don't didn't can't won't wouldn't couldn't haven't hadn't ever recently actually "
        "finally once first last most had was went came left lost kept mentioned finished started loved liked wanted "
        "needed enjoyed sent reached built live'd"
    )
)
_AMBIGUOUS = frozenset(
    listed("had was could will would should may might must can did do shall left came went kept lost")
)
_DETERMINED = Pattern(
    r"\b(the|this|that|these|those|every|each|any|all|no|some|first|last|best|worst|only|one|which|what|favorite)"
    r"(?:\s+(?!of|in|on)[a-z]+)?\s+$",
    re.IGNORECASE,
)
_WORD_AFTER = Pattern(r"\s+([A-Za-z']+)")


def _is_pronoun(match: re.Match[str]) -> bool:
    """Whether the I after a word such as "book" or "Part" is the pronoun: "the book I read"."""
    following = _WORD_AFTER.match(after(match))
    if match[3] or following is None:
        return False
    word = following[1].lower()
    if match[1] == "part" and _IN_PART.search(before(match)):
        return word in _SAYS_I or word not in FUNCTION_WORDS  # "in part I agree", but "in part I we show"
    determined = _DETERMINED.search(before(match)) is not None
    if match[1][0].isupper():
        said = word in _SAYS_I and (determined or word not in _AMBIGUOUS)
        return said and not before(match).endswith("World ")
    if word in _SAYS_I or "'" in word:
        return True
    return determined and (word not in FUNCTION_WORDS or word in ("now", "no", "then", "once"))


def _numbered(match: re.Match[str]) -> str:
    word, numeral, dot = match.groups()
    value = from_roman(numeral)
    key = word.lower().rstrip(".")
    if value is None or not re.fullmatch(_NUMERAL, numeral):
        return match[0]
    if len(numeral) == 1:
        if numeral in "LCDM" or (numeral == "X" and key.removesuffix("s") not in _ABOVE_TEN | set(_ABBREVIATED)):
            return match[0]
        if numeral == "I" and _is_pronoun(match):
            return match[0]
    return f"{_ABBREVIATED.get(key, word)} {cardinal(value)}{dot}"


def _small(match: re.Match[str]) -> str:
    """``"scene ii"`` -> ``"scene two"``; a lone i is a numeral only where nothing follows."""
    word, first, link, last, following = match.groups()
    low, high = from_roman(first.upper()), from_roman((last or "").upper())
    key = word.lower().rstrip(".")
    if not (first.islower() and low) or (last and not (last.islower() and high)):
        return match[0]
    if len(first) == 1 and last is None and (key not in _HAS_SMALL or (first == "i" and following)):
        return match[0]
    link = " to " if link and link.strip() in ("-", "–") else link
    return f"{_ABBREVIATED.get(key, word)} {cardinal(low)}" + (f"{link}{cardinal(high)}" if last else "")


def _year(match: re.Match[str]) -> str:
    value = from_roman(match[1])
    return year(value) if value and 1500 <= value <= 2100 else match[0]


def _span(match: re.Match[str]) -> str:
    """``"Chapters I-IV"`` -> ``"Chapters one to four"``."""
    first, last = from_roman(match[2]), from_roman(match[3])
    return f"{match[1]} {cardinal(first)} to {cardinal(last)}" if first and last and first < last else match[0]


def _reign(match: re.Match[str]) -> str:
    name, numeral, dot = match.groups()
    value = from_roman(numeral)
    if value is None or numeral == "L":
        return match[0]
    rest = after(match)
    if len(numeral) == 1:
        if dot and re.match(r"\s+[A-Z]", rest) and not STARTS_SENTENCE.match(rest):
            return match[0]  # an initial: George V. Higgins
        following = _WORD_AFTER.match(rest)
        if rest[:1] == "'" and not rest.startswith("'s"):
            return match[0]  # "John I'm"
        says = following is not None and following[1].lower() in _SAYS_I - _AMBIGUOUS
        if numeral == "I" and says and not _RULER.search(before(match)):
            return match[0]  # "To Mary I say"
        if numeral in "XI" and name in ("Malcolm", "David", "Kenneth", "Stephen") and not _RULER.search(before(match)):
            return match[0]
    return f"{name} the {ordinal(value)}{dot}"


def _lone(match: re.Match[str]) -> str:
    if match[1] in ("IV", "VI") and _INTRAVENOUS.search(before(match)):
        return "I-V" if match[1] == "IV" else match[0]
    return cardinal(from_roman(match[1]) or 0)


def _heading(match: re.Match[str]) -> str:
    value = from_roman(match[1])
    numeral = value is not None and re.fullmatch(_NUMERAL, match[1]) and match[1] not in ("XL", "CC", "CD", "CV", "CI")
    return cardinal(value).capitalize() if numeral and value else match[0]


def expand_roman(text: str) -> str:
    """``"Henry VIII"`` -> ``"Henry the eighth"``, ``"Chapter IV"`` -> ``"Chapter four"``."""
    text = _HEADING_ONE.sub(_heading, _HEADING.sub(_heading, text))
    if "ii)" in text:
        text = _INLINE_ITEM.sub(lambda m: f"{m[1]}{cardinal(from_roman(m[2].upper()) or 0)})", text)
    text = _YEAR.sub(_year, text)
    text = _AS_ORDINAL.sub(lambda m: ordinal(value) if (value := from_roman(m[1])) else m[0], text)
    text = _SMALL.sub(_small, text)
    text = _SPAN.sub(_span, text)
    text = _NUMBERED_RE.sub(lambda m: _numbered(m) if m[2].isupper() else m[0], text)
    text = _REIGN.sub(_reign, text)
    text = _SUFFIX.sub(lambda m: f"{m[1]} the {ordinal(from_roman(m[2]) or 0)}", text)
    text = _NTH.sub(lambda m: ordinal(value) if (value := from_roman(m[1])) else m[0], text)
    return _LONE.sub(_lone, text)
