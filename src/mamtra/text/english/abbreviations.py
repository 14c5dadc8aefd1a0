"""Abbreviations written with a full stop, titles, states and initials."""

from __future__ import annotations

import re

from mamtra.text.english.numbers import digits
from mamtra.text.english.wordlists import STARTS_SENTENCE, listed

_TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Prof": "Professor", "Lt": "Lieutenant",
    "Col": "Colonel", "Capt": "Captain", "Gov": "Governor", "Sen": "Senator", "Rep": "Representative",
    "Sgt": "Sergeant", "Gen": "General", "Maj": "Major", "Cpl": "Corporal", "Cmdr": "Commander", "Adm": "Admiral",
    "Rev": "Reverend", "Hon": "Honorable", "Fr": "Father", "Pres": "President", "Supt": "Superintendent",
    "Mt": "Mount", "Ft": "Fort", "St": "Saint", "Pvt": "Private", "Msgr": "Monsignor", "Messrs": "Messers",
}  # fmt: skip
_STREETS = {
    "St": "Street", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Dr": "Drive", "Ct": "Court",
    "Pl": "Place", "Sq": "Square", "Hwy": "Highway", "Pkwy": "Parkway", "Ter": "Terrace", "Mt": "Mountain",
    "Apt": "Apartment",
}  # fmt: skip
_ANYWHERE = {
    "Jr": "Junior", "Sr": "Senior", "Co": "Company", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation",
    "Bros": "Brothers", "Assn": "Association", "Dept": "Department", "dept": "department", "Univ": "University",
    "etc": "et cetera", "vs": "versus", "approx": "approximately", "appt": "appointment", "est": "estimated",
    "Est": "established", "Vol": "Volume", "vol": "volume", "Ch": "Chapter", "ch": "chapter", "pp": "pages",
    "Fig": "Figure", "fig": "figure", "max": "maximum", "misc": "miscellaneous", "al": "al", "Gov't": "Government",
    "govt": "government", "temp": "temperature", "Ave": "Avenue", "Blvd": "Boulevard", "Hwy": "Highway",
    "Pkwy": "Parkway", "Apt": "Apartment", "cf": "compare", "ca": "circa", "Esq": "Esquire", "Rte": "Route",
    "ext": "extension", "tel": "telephone", "Tel": "Telephone",
}  # fmt: skip
_DOTTED = {
    "e.g": "for example", "i.e": "that is", "N.Y": "New York", "N.J": "New Jersey", "N.C": "North Carolina",
    "S.C": "South Carolina", "N.D": "North Dakota", "S.D": "South Dakota", "N.H": "New Hampshire",
    "N.M": "New Mexico", "R.I": "Rhode Island", "W.Va": "West Virginia", "p.s": "P-S",
}  # fmt: skip
_STATES = {
    "Ala": "Alabama", "Ariz": "Arizona", "Ark": "Arkansas", "Calif": "California", "Colo": "Colorado",
    "Conn": "Connecticut", "Del": "Delaware", "Fla": "Florida", "Ga": "Georgia", "Ill": "Illinois", "Ind": "Indiana",
    "Kan": "Kansas", "Ky": "Kentucky", "La": "Louisiana", "Mass": "Massachusetts", "Md": "Maryland",
    "Mich": "Michigan", "Minn": "Minnesota", "Miss": "Mississippi", "Mo": "Missouri", "Mont": "Montana",
    "Neb": "Nebraska", "Nev": "Nevada", "Okla": "Oklahoma", "Ore": "Oregon", "Pa": "Pennsylvania",
    "Tenn": "Tennessee", "Tex": "Texas", "Va": "Virginia", "Vt": "Vermont", "Wash": "Washington", "Wis": "Wisconsin",
    "Wyo": "Wyoming",
}  # fmt: skip
_POSTAL = dict(
    pair.split(":")
    for pair in listed(
        "AL:Alabama AK:Alaska AZ:Arizona AR:Arkansas CA:California CO:Colorado CT:Connecticut DE:Delaware "
        "FL:Florida GA:Georgia HI:Hawaii ID:Idaho IL:Illinois IN:Indiana IA:Iowa KS:Kansas KY:Kentucky LA:Louisiana "
        "ME:Maine MD:Maryland MA:Massachusetts MI:Michigan MN:Minnesota MS:Mississippi MO:Missouri "
        "MT:Montana NE:Nebraska "
        "NV:Nevada NH:New_Hampshire NJ:New_Jersey NM:New_Mexico NY:New_York NC:North_Carolina ND:North_Dakota OH:Ohio "
        "OK:Oklahoma OR:Oregon PA:Pennsylvania RI:Rhode_Island SC:South_Carolina SD:South_Dakota TN:Tennessee TX:Texas "
        "UT:Utah VT:Vermont VA:Virginia WA:Washington WV:West_Virginia WI:Wisconsin WY:Wyoming"
    )
)

# A capitalised word or a street number's ordinal, then the abbreviation, not followed by another capitalised word.
_STREET = re.compile(
    rf"\b([A-Z][a-z]+(?:'s)?|\d+(?:st|nd|rd|th))\s+({'|'.join(_STREETS)})\b(\.?)(?!\s+[A-Z][a-z]+\s+(?:was|is|said|and))"
)
_TITLE = re.compile(rf"\b({'|'.join(_TITLES)})\b(\.\s*(?=[A-Z])|\s+(?=[A-Z]))")
_DOTTED_RE = re.compile(rf"(?<![\w.])({'|'.join(re.escape(k) for k in _DOTTED)})\.(?!\w)", re.IGNORECASE)
_ANY = re.compile(rf"(?<![\w.])({'|'.join(_ANYWHERE)})\.(?!\w)")
_STATE = re.compile(rf"(?<=[a-z], )({'|'.join(_STATES)})\.")
_POSTAL_RE = re.compile(rf"(?<=[a-z], )({'|'.join(_POSTAL)})(?=[,.;!?]|$)")
_ZIP = re.compile(rf"(?<=[a-z], )({'|'.join(_POSTAL)})\s+(\d{{5}})(?:-(\d{{4}}))?\b")
_INITIALS = re.compile(r"(?<![\w.])(?:[A-Za-z]\.\s?(?=[A-Za-z]\.)(?!\s[a-z]))+[A-Za-z]\.(?:s\b|'s\b)?")
_DEGREES = re.compile(r"\bPh\.?\s?D(?=s?\b)\.?")
_INITIAL = re.compile(r"(?<=\s)([A-Z])\.(?=\s+[A-Z][a-z'])|^([A-HJ-Z])\.(?=\s+[A-Z][a-z'])")


def _stop(match: re.Match[str], expansion: str) -> str:
    """The expansion, with a full stop where the abbreviation's own one also ended the sentence."""
    rest = match.string[match.end() :]
    ends = match[0].endswith(".") and (not rest.strip("\"')] ") or STARTS_SENTENCE.match(rest) is not None)
    ends |= match[0] == "etc." and rest[:2].strip().isupper()
    return expansion + ("." if ends else "")


def _street(match: re.Match[str]) -> str:
    name, kind, _ = match.groups()
    after = match.string[match.end() :]
    person = kind in ("Dr", "St", "Mt", "Pl", "Ct") and re.match(r"\s+[A-Z]", after)
    numbered = re.search(r"\d (?:[NSEW]\.? |North |South |East |West )?$", match.string[: match.start()])
    if person and not numbered and not name[0].isdigit():
        return match[0]  # before a name it is a title: "Visit St. Louis", "asked Dr. Ito"
    if not match[3] and kind not in ("Ave", "Blvd", "Rd", "Hwy", "Pkwy", "St", "Dr"):
        return match[0]
    return _stop(match, f"{name} {_STREETS[kind]}")


def _zip(match: re.Match[str]) -> str:
    state, code, more = match.groups()
    return f"{_POSTAL[state].replace('_', ' ')} {digits(code)}" + (f" dash {digits(more)}" if more else "")


def _initials(match: re.Match[str]) -> str:
    letters = re.sub(r"[^A-Za-z]", "", re.sub(r"'?s$", "", match[0]))
    tail = "s" if match[0].endswith("s") else ""
    if " " in match[0].strip():
        return _stop(match, " ".join(letters.upper()))
    return _stop(match, "-".join(letters.upper()) + ("'" + tail if tail else ""))


def expand_abbreviations(text: str) -> str:
    """``"Lt. Col. Reyes lives on Elm St."`` -> ``"Lieutenant Colonel Reyes lives on Elm Street."``."""
    text = _DOTTED_RE.sub(lambda m: _stop(m, _DOTTED.get(m[1]) or _DOTTED.get(m[1].lower()) or m[0]), text)
    text = _ZIP.sub(_zip, text)
    text = _POSTAL_RE.sub(lambda m: _POSTAL[m[1]].replace("_", " "), text)
    text = _STATE.sub(lambda m: _stop(m, _STATES[m[1]]), text)
    text = _DEGREES.sub(lambda m: _stop(m, "P-H-D"), text)
    text = _INITIALS.sub(_initials, text)
    text = _STREET.sub(_street, text)
    for _ in range(2):  # titles may follow one another: Lt. Col.
        text = _TITLE.sub(lambda m: _TITLES[m[1]] + " ", text)
    text = _ANY.sub(lambda m: _stop(m, _ANYWHERE[m[1]]), text)
    text = re.sub(r"\bvs\b", "versus", text)
    text = re.sub(r"\bw/(?=\s)", "with", re.sub(r"\bw/o\b", "without", text))
    text = re.sub(r"\b(Mr|Mrs|Ms|Jr|Sr)\b\.?(?=\s|$|,)", lambda m: (_TITLES | _ANYWHERE)[m[1]], text)
    return _INITIAL.sub(lambda m: m[1] or m[2], text)
