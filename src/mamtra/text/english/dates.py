"""Dates and decades."""

from __future__ import annotations

import re
from typing import Literal

from mamtra.text.english.numbers import cardinal, ordinal, plural, year
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.wordlists import listed

DateOrder = Literal["auto", "mdy", "dmy"]
"""How 05/06/2024 is read: "mdy" month first, "dmy" day first, "auto" month first unless it cannot be."""

MONTHS = listed("January February March April May June July August September October November December")
_SHORT = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
_MONTH = "|".join([*MONTHS, "Sept", *(m[:3] for m in MONTHS)])
_WEEKDAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_TH = r"(?:st|nd|rd|th)?"

_MONTH_DAY = FigurePattern(
    rf"\b({_MONTH})\b\.?\s+(\d{{1,2}}){_TH}(?:\s?[-–]\s?(\d{{1,2}}){_TH})?(?![\w:]|[.,]\d)(?:(,)?\s+(\d{{4}})\b(?!,\d))?"
)
_DAY_MONTH = FigurePattern(
    rf"(?<![\d.,/:-])(?:[Tt]he )?(?:(\d{{1,2}}){_TH}\s?[-–]\s?)?\b(\d{{1,2}}){_TH}(?:\s+(?:of )?|-)({_MONTH})\b\.?"
    rf"(?:(?:,?\s+|-)(\d{{4}})\b)?"
)
_MONTH_YEAR = FigurePattern(rf"\b({_MONTH})\b\.?,?\s+(?:(\d{{4}})\b|'(\d\d)\b)")
_MONTHS_RANGE = Pattern(rf"\b({_MONTH})\b\.?\s?[-–]\s?({_MONTH})\b")
_DAYS_RANGE = FigurePattern(rf"\b((?:{_MONTH})\b\.?\s+\d{{1,2}}{_TH}(?:,\s+\d{{4}})?)\s?[-–—]\s?(?=(?:{_MONTH})\b)")
_DAYS_OF_MONTHS = FigurePattern(rf"\b(\d{{1,2}}{_TH}\s(?:{_MONTH})\b)\.?\s?[-–—]\s?(?=\d{{1,2}}{_TH}\s(?:{_MONTH})\b)")
_MONTH_DOT = Pattern(r"\b(Jan|Feb|Aug|Sept|Oct|Nov|Dec)\.")
_ISO = FigurePattern(
    r"\b(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?=\b|T\d)(?!\2?\d)"
    r"(?:[T ]?(?<=[T ])(\d{2}:\d{2})(?::(\d{2})(?:\.\d+)?)?\s?(Z\b|[+-]\d{2}:?\d{2}\b)?)?"
)
_NUMERIC = FigurePattern(r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|'?\d{2})(?![\w/-]|\.\d)")
_NO_YEAR = FigurePattern(
    r"(?<![\w/.$-])(\d{1,2})/(\d{1,2})(?![\w/%]|\.\d)(?!\s+(?:of|cups?|inch|miles?|tea|table|the|a)\b)"
)
_ALONE = FigurePattern(r"^\s*\d{1,2}/\d{1,2}\s*[.!?]?\s*$")
_AFTER_DATE = Pattern(
    r"\s(?:at|@)\s\d|,?\s(?:party|meeting|deadline|appointment|game|show|concert|birthday|flight|due)\b"
)
_COMMON = frozenset((2, 3, 4, 5, 6, 8, 10, 12, 16))
"""Denominators of everyday fractions and time signatures."""
_MONTH_OF_YEAR = FigurePattern(r"(?<![\w/.$-])(0?[1-9]|1[0-2])/((?:19|20)\d\d)(?![\w/]|[.,]\d)")
_SEASON = FigurePattern(r"(?<![\w/.$-])((?:19|20)\d\d)/(\d\d)(?![\w/]|[.,]\d)")
_BEFORE_DATE = Pattern(
    r"\b(?:on|by|until|till|since|due|dated?|from|before|after|through|starting|starts|ends|deadline:?|arrives|week of"
    r"|birthday|(?:mon|tues?|wed|wednes|thu|thurs?|fri|sat|satur|sun)(?:day)?,?)\s+$",
    re.IGNORECASE,
)
_WEEKDAY = Pattern(
    rf"\b({'|'.join(_WEEKDAYS)})(?:\.|(?=,? (?:{_MONTH}|\d{{1,2}}[/.]|(?:the )?\d{{1,2}}(?:st|nd|rd|th)"
    rf"|\d{{1,2}} (?:{_MONTH})|\d{{1,2}}(?::\d\d)?\s?[aApP]\.?[mM]|\d{{1,2}}:\d\d)\b))"
)
_WEEK = Pattern(rf"\b({'|'.join(_WEEKDAYS)})\.?\s?[-–]\s?({'|'.join(_WEEKDAYS)})\b\.?")
_DECADE = FigurePattern(r"(?<![\w.])(?:(\d{2})|')(\d0)'?s\b")
_DECADES = FigurePattern(r"(?<![\w.])((?:\d{2}|')\d0'?s)\s?[-–]\s?(?=(?:'|\d\d)?\d0'?s\b)")
_BARE_DECADE = FigurePattern(
    r"(?:(?<=\bthe )|(?<=\bearly )|(?<=\blate )|(?<=\bmid[- ])|(?<=\btheir )|(?<=\bhis )|(?<=\bher )|(?<=\bmy )|(?<=\bto ))"
    r"([2-9]0)'?s\b|\b([2-9]0)s(?=\s(?:music|kids?|hits|movies?|fashion|rock|pop|style|shows?|hair|bands?|songs?|nostalgia"
    r"|era|vibe|party|cartoons?|sitcoms?|disco)\b)"
)


def _valid(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31


def _date(month: int, day: int, year_text: str | None, comma: str = ",") -> str:
    said = f"{MONTHS[month - 1]} {ordinal(day)}"
    if not year_text:
        return said
    number = int(year_text.lstrip("'"))
    if number < 100 and len(year_text.lstrip("'")) == 2:
        number += 1900 if number > 50 else 2000
    return f"{said}{comma} {year(number)}"


def _iso(match: re.Match[str]) -> str:
    year_text, mark, month, day, clock, second, zone = match.groups()
    if not _valid(int(month), int(day)) or (mark != "-" and not 1000 <= int(year_text) < 3000):
        return match[0]
    said = _date(int(month), int(day), year_text)
    if not clock:
        return said + (match[0][-1] if match[0][-1] == " " else "")
    said += f" at {clock}" + (f":{second}" if second and second != "00" else "")
    if zone:
        hours, minutes = zone[1:3], zone[-2:]
        offset = f"{'plus' if zone[0] == '+' else 'minus'} {int(hours or 0)}" if zone != "Z" else ""
        said += " U-T-C" + (f" {offset}" if zone != "Z" else "") + (f" {minutes}" if offset and minutes != "00" else "")
    return said


def _numeric(match: re.Match[str], order: DateOrder) -> str:
    first, mark, second, year_text = match.groups()
    if mark == "." and len(year_text) == 2 and not (int(first) > 12 and len(first) == len(second) == 2):
        return match[0]  # a version
    if mark == "-" and len(year_text) == 2:
        return match[0]
    day_first = order == "dmy" or (order == "auto" and int(first) > 12)
    month, day = (int(second), int(first)) if day_first else (int(first), int(second))
    if not _valid(month, day):
        month, day = day, month
    return _date(month, day, year_text) if _valid(month, day) else match[0]


def _season(match: re.Match[str]) -> str:
    """``"2019/20"``: two years that follow one another."""
    first, last = int(match[1]), int(match[2])
    if (first + 1) % 100 != last:
        return match[0]
    return f"{year(first)} " + (f"oh {cardinal(last)}" if 0 < last < 10 else cardinal(last))


def _no_year(match: re.Match[str], order: DateOrder) -> str:
    first, second = int(match[1]), int(match[2])
    told = _BEFORE_DATE.search(match.string[max(0, match.start() - 20) : match.start()]) is not None
    if second not in _COMMON or (_ALONE.match(match.string) and first >= second and match[0] != "6/8"):
        told = told or bool(_ALONE.match(match.string) or _AFTER_DATE.match(match.string, match.end()))
    if match[0] in ("24/7", "9/11", "50/50", "20/20") or not (told or (first > 12 and first > second)):
        return match[0]
    day_first = order == "dmy" or (order == "auto" and first > 12)
    month, day = (second, first) if day_first else (first, second)
    return _date(month, day, None) if _valid(month, day) else match[0]


def _month_day(match: re.Match[str]) -> str:
    name, first, last, _, year_text = match.groups()
    if not 1 <= int(first) <= 31:
        return match[0]
    month = MONTHS.index(_SHORT[name[:3]]) + 1
    if last:
        tail = f", {year(int(year_text))}" if year_text else ""
        return f"{MONTHS[month - 1]} {ordinal(int(first))} to {ordinal(int(last))}{tail}"
    return _date(month, int(first), year_text)


def _day_month(match: re.Match[str]) -> str:
    first, day, month, year_text = match.groups()
    if not 1 <= int(day) <= 31:
        return match[0]
    tail = f", {year(int(year_text))}" if year_text else ""
    head = f"the {ordinal(int(first))} to " if first else ""
    return f"{head}the {ordinal(int(day))} of {_SHORT[month[:3]]}{tail}"


def _decade(match: re.Match[str]) -> str:
    century, tens = match.groups()
    said = "hundreds" if tens == "00" else plural(cardinal(int(tens)))
    if century == "20" and tens == "00":
        return "two thousands"
    return f"{cardinal(int(century))} {said}" if century else said


def expand_dates(text: str, order: DateOrder = "auto") -> str:
    """Replace dates and decades by words.

    Args:
        text: a sentence.
        order: of day and month in dates of figures only.
    """
    text = _ISO.sub(_iso, text)
    text = _NUMERIC.sub(lambda m: _numeric(m, order), text)
    text = _MONTH_OF_YEAR.sub(lambda m: f"{MONTHS[int(m[1]) - 1]} {year(int(m[2]))}", _SEASON.sub(_season, text))
    text = _NO_YEAR.sub(lambda m: _no_year(m, order), text)
    text = _WEEK.sub(lambda m: f"{_WEEKDAYS[m[1]]} to {_WEEKDAYS[m[2]]}", text)
    text = _WEEKDAY.sub(_weekday, text)
    text = _DAYS_OF_MONTHS.sub(r"\1 to ", _DAYS_RANGE.sub(r"\1 to ", text))
    text = _MONTHS_RANGE.sub(lambda m: f"{_SHORT[m[1][:3]]} to {_SHORT[m[2][:3]]}", text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _DAY_MONTH.sub(_day_month, text)
    text = _MONTH_YEAR.sub(lambda m: f"{_SHORT[m[1][:3]]} {year(int(m[2])) if m[2] else cardinal(int(m[3]))}", text)
    text = _MONTH_DOT.sub(lambda m: _SHORT[m[1][:3]] + ("." if m.end() == len(m.string) else ""), text)
    text = _DECADE.sub(_decade, _DECADES.sub(r"\1 to ", text))
    return _BARE_DECADE.sub(lambda m: plural(cardinal(int(m[1] or m[2]))), text)


def _weekday(match: re.Match[str]) -> str:
    """``"Tues."`` -> ``"Tuesday"``; "Sun." at the end of a sentence is more likely the star."""
    if not match[0].endswith(".") or match.end() < len(match.string):
        return _WEEKDAYS[match[1]]
    return match[0] if match[1] in ("Sun", "Sat", "Wed", "Mon") else _WEEKDAYS[match[1]] + "."
