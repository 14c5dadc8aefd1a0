"""Abbreviations written with a full stop, titles and streets, states and initials."""

from __future__ import annotations

import re

from mamtra.text.english.abbreviation_list import ANYWHERE, DOTTED, POSTAL, STARTERS, STATES, STREETS, TITLES
from mamtra.text.english.context import after, before, stop
from mamtra.text.english.numbers import digits
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.wordlists import STARTS_SENTENCE, listed

_BOTH = frozenset(TITLES) & frozenset(STREETS)
"""Before a name a title, after one a street: Dr., St., Mt."""
_ORDINAL = r"\d+(?:st|nd|rd|th)"
_STREET = Pattern(rf"\b([A-Z][a-z]+(?:'s)?|[A-Z]{{3,}}|{_ORDINAL})\s+({'|'.join(STREETS)})\b(\.?)(?!')")
_HOUSE_NUMBER = FigurePattern(r"\d[\dA-Za-z-]* (?:[NSEW]\.? |North |South |East |West |[A-Z][a-z]+ )?$")
_AFTER_STREETS = Pattern(r"\s+(?:Journal|Station|Bridge|Market|Theat(?:er|re)|Cafe|Apartments|[NSEW]\b|[NS][EW]\b)")
_NOT_A_NAME = STARTERS | frozenset(
    listed(
        "While Whereas Said Asked Though Unless Until Whenever Wherever Once Perhaps Maybe Soon Later Next Last Dear Poor "
        "Old Good Young Tell Ask Call See Thank Thanks Hello Hi Oh Ah Well No Than Monday Tuesday Wednesday Thursday Friday "
        "Saturday Sunday Like About Against Among Around Between During Inside Near Outside Over Through Under Upon Via "
        "Without Within Visit Did Does Had Has Have Just Both Either Neither Nor"
    )
)
_NO_STOP_NEEDED = "Mr|Mrs|Ms|Dr|Prof|St|Mt|Ft|Lt|Col|Capt|Sgt|Cpl|Cmdr|Supt|Pvt|Msgr|Messrs|Drs"
_TITLE = Pattern(
    rf"\b(?:({'|'.join(TITLES)})\.\s*(?=[A-Z]|(?:&|and)\s(?:Mrs?|Ms|Dr|Prof)\b)|({_NO_STOP_NEEDED})\s+(?=[A-Z]))"
)
_IN_CAPITALS = Pattern(
    r"\b(MR|MRS|MS|DR|PROF|REV|SGT|CAPT|LT|COL|GEN|GOV|SEN|REP|HON|ST|AVE|BLVD|RD|LN|JR|SR|INC|LTD|CORP|CO"
    r"|DEPT|BROS)\.(?=\s*$|,?\s+[A-Z])"
)
_THE_DOCTOR = Pattern(r"\b([Tt]he|[Aa]|[Mm]y|[Yy]our|[Hh]is|[Hh]er|[Oo]ur|[Tt]heir)\s+Dr\.(?=\s+[a-z]|,)")
_DOTTED_RE = Pattern(rf"(?<![\w.])({'|'.join(re.escape(k) for k in DOTTED)})\.(?!\w)", re.IGNORECASE)
_ANY = Pattern(rf"(?<![\w.])({'|'.join(ANYWHERE)})\.(?!\w)")
_STATE = Pattern(rf"(?<=[a-z], )({'|'.join(STATES)})\.")
_POSTAL_RE = Pattern(rf"(?<=[a-z], )({'|'.join(POSTAL)})(?=[,.;!?]|$)")
_PLACE = Pattern(r"\b[A-Z]?[a-z]+, $")
_ZIP = FigurePattern(rf"((?<=[a-z]),? |^)({'|'.join(POSTAL)}),?\s+(\d{{5}})(?:-(\d{{4}}))?\b")
_INITIALS = Pattern(r"(?<![\w.])(?:[A-Za-z]\.\s?(?=[A-Za-z]\.)(?!\s[a-z]))+[A-Za-z]\.(?:s\b|'s\b|(?!\w))")
_LETTERS = Pattern(r"(?<![\w.])(?:[A-Za-z]\.){2,}[A-Za-z](?![\w.])")
_PHD = Pattern(r"\bPh\.?\s?D(?=['s]*\b)(?:\.(?!s))?\.?(['s]*)")
_DEGREE = Pattern(r"(?<![\w.])(LL|B|M|D|Ed|Pharm)\.\s?(B|D|M|Sc|Ed|Phil|Eng|Litt|Mus|Tech|Arch)\.(?=$|[\s,;:!?)])")
_INITIAL = Pattern(r"(?<=\s)([A-Z])\.(?=\s+[A-Z][a-z'])|^([A-HJ-Z])\.(?=\s+[A-Z][a-z'])")
_PAGE = Pattern(r"(?<![\w.])([Pp])\.\s?(?=\d|[ivxl]{1,6}\b)")
_FOUNDED = FigurePattern(r"(?<![\w.])est\.\s?(?=(?:1[5-9]|20)\d\d\b)")
_FEATURING = Pattern(r"(?<=[a-z\"')\]] )ft\.\s(?=[A-Z])")
_PRODUCED = Pattern(r"(?<![\w.])([Pp])rod\.\s(?=by\b)")
_CIRCA = FigurePattern(r"(?<![\w.])[Cc]a?\.\s?(?=\d)")
_COMPASS = {"N": "North", "S": "South", "E": "East", "W": "West"}
_QUADRANT = {"NW": "Northwest", "NE": "Northeast", "SW": "Southwest", "SE": "Southeast"} | _COMPASS
_AFTER_STREET = Pattern(
    rf"((?:{'|'.join(sorted(set(STREETS.values())))})),?\s+(N\.?W\.?|N\.?E\.?|S\.?W\.?|S\.?E\.?|[NSEW]\.?)(?=[\s,;:!?)]|\.?$)"
)
_BEFORE_STREET = Pattern(rf"(\d+ |\bon |\bat |^)([NSEW])\.? (?=(?:[A-Z][a-z]+|{_ORDINAL}) (?:{'|'.join(STREETS)})\b)")
_SPOKEN_PART = {
    "Ed": "Ed",
    "Phil": "Phil",
    "Pharm": "Pharm",
    "Mus": "Mus",
    "Tech": "Tech",
    "Arch": "Arch",
    "Litt": "Litt",
}


def _street(match: re.Match[str]) -> str:
    name, kind, dot = match.groups()
    rest = after(match)
    numbered = _HOUSE_NUMBER.search(before(match)) is not None or name[0].isdigit()
    if name in _NOT_A_NAME and not numbered:
        return match[0]
    if kind in _BOTH | {"Pl", "Ct"} and re.match(r"\s+[A-Z]", rest) and not numbered and not _AFTER_STREETS.match(rest):
        ends = dot and STARTS_SENTENCE.match(rest) and not re.match(r"\s+[A-Z]\w* (?:was|is|said|and)\b", rest)
        if not ends or kind not in ("St", "Dr"):
            return match[0]  # before a name it is a title: "Visit St. Louis", "asked Dr. Ito"
    if not dot and kind not in ("Ave", "Blvd", "Rd", "Hwy", "Pkwy", "St", "Dr"):
        return match[0]
    return stop(match, f"{name} {STREETS[kind]}")


def _zip(match: re.Match[str]) -> str:
    gap, state, code, more = match.groups()
    return f"{gap}{POSTAL[state].replace('_', ' ')} {digits(code)}" + (f" dash {digits(more)}" if more else "")


def _initials(match: re.Match[str]) -> str:
    letters = re.sub(r"[^A-Za-z]", "", re.sub(r"'?s$", "", match[0]))
    tail = "s" if match[0].endswith("s") else ""
    if " " in match[0].strip():
        return stop(match, " ".join(letters.upper()))
    return stop(match, "-".join(letters.upper()) + ("'" + tail if tail else ""))


def _degree(match: re.Match[str]) -> str:
    """``"B.Sc."`` -> ``"B-S-C"``, ``"M.Ed."`` -> ``"M Ed"``."""
    parts = [_SPOKEN_PART.get(part, "-".join(part.upper())) for part in match.groups()]
    return stop(match, ("-" if all("-" in part or len(part) == 1 for part in parts) else " ").join(parts))


def expand_abbreviations(text: str) -> str:
    """``"Lt. Col. Reyes lives on Elm St."`` -> ``"Lieutenant Colonel Reyes lives on Elm Street."``."""
    text = _ZIP.sub(_zip, text)
    text = _POSTAL_RE.sub(lambda m: POSTAL[m[1]].replace("_", " ") if _PLACE.search(before(m)) else m[0], text)
    text = re.sub(r"\bw/(?=\s)", "with", re.sub(r"\bw/(?:o|out)\b", "without", re.sub(r"\bw/in\b", "within", text)))
    text = re.sub(r"\b(?:Rt|Rte)\.?\s(?=\d)", "Route ", text)
    text = re.sub(r"\bPt\.\s?(?=\d)", "Part ", text)
    text = _BEFORE_STREET.sub(lambda m: f"{m[1]}{_COMPASS[m[2]]} ", text)
    if "." in text:
        text = _IN_CAPITALS.sub(lambda m: m[1].capitalize() + ".", text)
        text = _DOTTED_RE.sub(lambda m: stop(m, DOTTED.get(m[1]) or DOTTED.get(m[1].lower()) or m[0]), text)
        text = _FOUNDED.sub("established ", _CIRCA.sub("circa ", text))
        text = _PRODUCED.sub(r"\1roduced ", _FEATURING.sub("featuring ", text))
        text = _PAGE.sub(lambda m: "Page " if m[1] == "P" else "page ", text)
        text = _STATE.sub(lambda m: stop(m, STATES[m[1]]), text)
        text = _DEGREE.sub(_degree, text)
    text = _PHD.sub(lambda m: stop(m, "P-H-D") + m[1], text)
    text = _INITIALS.sub(_initials, _LETTERS.sub(lambda m: m[0].replace(".", "-").upper(), text))
    text = _THE_DOCTOR.sub(r"\1 doctor", text)
    text = _STREET.sub(_street, text)
    text = _AFTER_STREET.sub(lambda m: f"{m[1]} {_QUADRANT[m[2].replace('.', '')]}", text)
    for _ in range(2):  # titles may follow one another: Lt. Col.
        text = _TITLE.sub(lambda m: TITLES[m[1] or m[2]] + " ", text)
    text = _ANY.sub(lambda m: _any(m), text)
    text = re.sub(r"\bvs\b", "versus", text)
    text = re.sub(r"\b(Mr|Mrs|Ms|Jr|Sr)\b\.?(?=\s|$|,)", lambda m: (TITLES | ANYWHERE)[m[1]], text)
    return _INITIAL.sub(lambda m: m[1] or m[2], text)


def _any(match: re.Match[str]) -> str:
    if match[1] == "min" and re.search(r"\d\s?$", before(match)):
        return match[0]  # minutes
    if match[0] == "etc." and after(match)[:2].strip().isupper():
        return ANYWHERE["etc"] + "."
    return stop(match, ANYWHERE[match[1]])
