"""Dates, times of day, decades and telephone numbers."""

from __future__ import annotations

import re

from mamtra.text.english.numbers import cardinal, digits, ordinal, plural, year
from mamtra.text.english.wordlists import STARTS_SENTENCE, listed

MONTHS = listed("January February March April May June July August September October November December")
_SHORT = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
_MONTH = "|".join([*MONTHS, "Sept", *(m[:3] for m in MONTHS)])
_WEEKDAYS = {
    "Mon": "Monday",
    "Tue": "Tuesday",
    "Tues": "Tuesday",
    "Wed": "Wednesday",
    "Thu": "Thursday",
    "Thur": "Thursday",
    "Thurs": "Thursday",
    "Fri": "Friday",
    "Sat": "Saturday",
    "Sun": "Sunday",
}
_NOON = r"(?:\s?([aApP])(?:\.\s?[mM]\.|-M\b|[mM]\b\.?))"

_MONTH_DAY = re.compile(
    rf"\b({_MONTH})\b\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?(?:\s?[-–]\s?(\d{{1,2}}))?(?![\d:,]*\d)(?:(,)?\s+(\d{{4}})\b)?"
)
_DAY_MONTH = re.compile(rf"\b(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of )?({_MONTH})\b\.?(?:,?\s+(\d{{4}})\b)?")
_MONTH_YEAR = re.compile(rf"\b({_MONTH})\b\.?,?\s+(\d{{4}})\b")
_MONTH_DOT = re.compile(r"\b(Jan|Feb|Aug|Sept|Oct|Nov|Dec)\.")
_ISO = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_SLASHED = re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b")
_WEEKDAY = re.compile(rf"\b({'|'.join(_WEEKDAYS)})(?:\.|(?=,? (?:{_MONTH})\b))")
_WEEK = re.compile(rf"\b({'|'.join(_WEEKDAYS)})\.?\s?[-–]\s?({'|'.join(_WEEKDAYS)})\b\.?")
_DECADE = re.compile(r"(?<!\w)(?:(\d{2})|')(\d0)'?s\b")
_CLOCK = re.compile(rf"\b(\d{{1,2}}):(\d{{2}})(?::(\d{{2}}))?{_NOON}?(?!\d)")
_HOUR = re.compile(rf"\b(\d{{1,2}})(?:\s?(?:-|–|to)\s?(\d{{1,2}}))?{_NOON}")
_PHONE = re.compile(
    r"(?<![\w-])(?:\+?(\d{1,2})[\s.-])?(?:\((\d{3})\)\s?|(\d{3})[\s.-])(\d{3})[\s.-](\d{4})(?![\w-])"
    r"|(?<![\w-])(\d{3})-(\d{4})(?![\w-])"
)

_ABROAD = re.compile(r"\+\d{1,3}(?:[\s-]\d{2,4}){2,5}\b")
_SERIAL = re.compile(r"(?<![\w-])\d+(?:-\d+){2,}(?![\w-])")


def _groups(text: str) -> str:
    """Groups of digits, read one by one with a break after each group."""
    return ", ".join(digits(group) for group in re.findall(r"\d+", text))


def _date(month: str, day: str, year_text: str | None, comma: str = ",") -> str:
    said = f"{_SHORT[month[:3]]} {ordinal(int(day))}"
    if not year_text:
        return said
    number = int(year_text)
    if len(year_text) == 2:
        number += 1900 if number > 50 else 2000
    return f"{said}{comma} {year(number)}"


def _numeric(match: re.Match[str], month: str, day: str, year_text: str) -> str:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return match[0]
    return _date(MONTHS[int(month) - 1], day, year_text)


def _month_day(match: re.Match[str]) -> str:
    month, first, last, _, year_text = match.groups()
    if not 1 <= int(first) <= 31:
        return match[0]
    if last:
        tail = f", {year(int(year_text))}" if year_text else ""
        return f"{_SHORT[month[:3]]} {ordinal(int(first))} to {ordinal(int(last))}{tail}"
    return _date(month, first, year_text)


def _day_month(match: re.Match[str]) -> str:
    day, month, year_text = match.groups()
    if not 1 <= int(day) <= 31:
        return match[0]
    tail = f", {year(int(year_text))}" if year_text else ""
    return f"the {ordinal(int(day))} of {_SHORT[month[:3]]}{tail}"


def _half(letter: str | None, match: re.Match[str]) -> str:
    if not letter:
        return ""
    rest = match.string[match.end() :]
    ends = match[0].endswith(".") and (not rest or STARTS_SENTENCE.match(rest) is not None)
    return f" {letter.upper()}-M" + ("." if ends else "")


def _clock(match: re.Match[str]) -> str:
    hour, minute, second, half = match.groups()
    if int(minute) > 59 or int(hour) > 24:
        return match[0]
    said = cardinal(int(hour))
    if int(minute):
        said += (" oh " if int(minute) < 10 else " ") + cardinal(int(minute))
    elif second is None and not half:
        said += " o'clock" if 1 <= int(hour) <= 12 else " hundred"
    if second:
        said += f" and {cardinal(int(second))} second" + ("" if int(second) == 1 else "s")
    return said + _half(half, match)


def _hour(match: re.Match[str]) -> str:
    first, last, half = match.groups()
    if int(first) > 12:
        return match[0]
    return cardinal(int(first)) + (f" to {cardinal(int(last))}" if last else "") + _half(half, match)


def _phone(match: re.Match[str]) -> str:
    groups = [group for group in match.groups() if group]
    said = []
    for place, group in enumerate(groups):
        if len(group) == 3 and group.endswith("00") and group[0] != "0" and place < len(groups) - 1:
            said.append(cardinal(int(group)))
        else:
            said.append(digits(group))
    return ", ".join(said)


def _decade(match: re.Match[str]) -> str:
    century, tens = match.groups()
    said = "hundreds" if tens == "00" else plural(cardinal(int(tens)))
    if century == "20" and tens == "00":
        return "two thousands"
    return f"{cardinal(int(century))} {said}" if century else said


def expand_dates(text: str) -> str:
    """Replace telephone numbers, dates, decades and times of day by words."""
    text = _PHONE.sub(_phone, text)
    text = _ABROAD.sub(lambda m: "plus " + _groups(m[0]), text)
    text = _ISO.sub(lambda m: _numeric(m, m[2], m[3], m[1]), text)
    text = _SERIAL.sub(lambda m: _groups(m[0]), text)
    text = _SLASHED.sub(lambda m: _numeric(m, m[1], m[2], m[3]), text)
    text = _WEEK.sub(lambda m: f"{_WEEKDAYS[m[1]]} to {_WEEKDAYS[m[2]]}", text)
    text = _WEEKDAY.sub(lambda m: _WEEKDAYS[m[1]] if not m[0].endswith(".") or _is_short_day(m) else m[0], text)
    text = _CLOCK.sub(_clock, text)
    text = _HOUR.sub(_hour, text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _DAY_MONTH.sub(_day_month, text)
    text = _MONTH_YEAR.sub(lambda m: f"{_SHORT[m[1][:3]]} {year(int(m[2]))}", text)
    text = _MONTH_DOT.sub(lambda m: _SHORT[m[1][:3]] + ("." if m.end() == len(m.string) else ""), text)
    return _DECADE.sub(_decade, text)


def _is_short_day(match: re.Match[str]) -> bool:
    """ "Sun." at the end of a sentence is more likely the star."""
    return match.end() < len(match.string)
