"""Abbreviations written with a full stop, titles, states and initials."""

from __future__ import annotations

import re

from mamtra.text.english.abbreviation_list import ANYWHERE, DOTTED, POSTAL, STATES, STREETS, TITLES
from mamtra.text.english.numbers import digits
from mamtra.text.english.wordlists import STARTS_SENTENCE

# A capitalised word or a street number's ordinal, then the abbreviation, not followed by another capitalised word.
_STREET = re.compile(
    rf"\b([A-Z][a-z]+(?:'s)?|\d+(?:st|nd|rd|th))\s+({'|'.join(STREETS)})\b(\.?)(?!\s+[A-Z][a-z]+\s+(?:was|is|said|and))"
)
_TITLE = re.compile(rf"\b({'|'.join(TITLES)})\b(\.\s*(?=[A-Z])|\s+(?=[A-Z]))")
_DOTTED_RE = re.compile(rf"(?<![\w.])({'|'.join(re.escape(k) for k in DOTTED)})\.(?!\w)", re.IGNORECASE)
_ANY = re.compile(rf"(?<![\w.])({'|'.join(ANYWHERE)})\.(?!\w)")
_STATE = re.compile(rf"(?<=[a-z], )({'|'.join(STATES)})\.")
_POSTAL_RE = re.compile(rf"(?<=[a-z], )({'|'.join(POSTAL)})(?=[,.;!?]|$)")
_ZIP = re.compile(rf"(?<=[a-z], )({'|'.join(POSTAL)})\s+(\d{{5}})(?:-(\d{{4}}))?\b")
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
    return _stop(match, f"{name} {STREETS[kind]}")


def _zip(match: re.Match[str]) -> str:
    state, code, more = match.groups()
    return f"{POSTAL[state].replace('_', ' ')} {digits(code)}" + (f" dash {digits(more)}" if more else "")


def _initials(match: re.Match[str]) -> str:
    letters = re.sub(r"[^A-Za-z]", "", re.sub(r"'?s$", "", match[0]))
    tail = "s" if match[0].endswith("s") else ""
    if " " in match[0].strip():
        return _stop(match, " ".join(letters.upper()))
    return _stop(match, "-".join(letters.upper()) + ("'" + tail if tail else ""))


def expand_abbreviations(text: str) -> str:
    """``"Lt. Col. Reyes lives on Elm St."`` -> ``"Lieutenant Colonel Reyes lives on Elm Street."``."""
    text = _DOTTED_RE.sub(lambda m: _stop(m, DOTTED.get(m[1]) or DOTTED.get(m[1].lower()) or m[0]), text)
    text = _ZIP.sub(_zip, text)
    text = _POSTAL_RE.sub(lambda m: POSTAL[m[1]].replace("_", " "), text)
    text = _STATE.sub(lambda m: _stop(m, STATES[m[1]]), text)
    text = _DEGREES.sub(lambda m: _stop(m, "P-H-D"), text)
    text = _INITIALS.sub(_initials, text)
    text = _STREET.sub(_street, text)
    for _ in range(2):  # titles may follow one another: Lt. Col.
        text = _TITLE.sub(lambda m: TITLES[m[1]] + " ", text)
    text = _ANY.sub(lambda m: _stop(m, ANYWHERE[m[1]]), text)
    text = re.sub(r"\bvs\b", "versus", text)
    text = re.sub(r"\bw/(?=\s)", "with", re.sub(r"\bw/o\b", "without", text))
    text = re.sub(r"\b(Mr|Mrs|Ms|Jr|Sr)\b\.?(?=\s|$|,)", lambda m: (TITLES | ANYWHERE)[m[1]], text)
    return _INITIAL.sub(lambda m: m[1] or m[2], text)
