"""Times of day and durations."""

from __future__ import annotations

import re

from mamtra.text.english.context import before, ends_sentence, is_attributive
from mamtra.text.english.numbers import cardinal, decimal, plural
from mamtra.text.english.patterns import FigurePattern, Pattern

_NOON = r"(?:\s?([aApP])(?:\.\s?[mM]\.|-M\b|[mM]\b\.?))"
_ANY_NOON = r"(?:\s?[aApP](?:\.\s?[mM]\.|-M\b|[mM]\b))"
_CLOCK = FigurePattern(rf"(?<![\d:.])(\d{{1,2}}):(\d{{2}})(?::(\d{{2}}))?{_NOON}?(?!\d|,\d{{3}}|:)")
_HOUR = FigurePattern(rf"(?<![\d:.,])(\d{{1,2}})(?:\s?(?:-|–|to)\s?(\d{{1,2}}))?{_NOON}")
_RANGE = FigurePattern(
    rf"(?<![\w:.])(\d{{1,2}}(?::\d{{2}}{_ANY_NOON}?|{_ANY_NOON}))\s?[-–—]\s?(?=\d{{1,2}}(?::\d{{2}}(?!\d)|{_ANY_NOON})|noon\b|midnight\b)"
    rf"|(?<![\w:.-])(\d{{1,2}})\s?[-–—]\s?(?=\d{{1,2}}:\d{{2}}\b)"
)
_N = r"\d+(?:\.\d+)?"
_HOURS = FigurePattern(
    rf"(?<![\w.,])(?:(\d+)\s?d\s?)?({_N})\s?(?:h|hrs?)(?:\b|(?=\d+\s?m(?:ins?)?(?:\b|\d+s\b)))(?:\s?(\d+)\s?(?:m|mins?)(?:\b|(?=\d+s\b)))?(?:\s?({_N})\s?(?:s|secs?)\b)?"
    rf"|(?<![\w.,])(\d+)h(\d\d)(?:m\b)?(?:({_N})s\b)?(?!\w)"
)
_MINUTES = FigurePattern(rf"(?<![\w.,])(\d+)\s?(?:m|mins?)\b\s?({_N})\s?(?:s|secs?)\b")
_SECONDS = FigurePattern(rf"(?<![\w.,$])({_N})(\s?)(?:s|S(?=\s[a-z]))(?![\w'])")
_PLURAL_FIGURES = Pattern(
    r"(?:\b(?:the|these|those|two|three|four|five|six|some|many|all|of|in|no|several|his|her|their|my|both|and|by)\s)$",
    re.I,
)
_TIMED = Pattern(
    r"\s(?:timers?|clips?|delays?|videos?|windows?|marks?|limits?|countdowns?|pauses?|breaks?|cooldowns?|ads?|intervals?|exposures?"
    r"|sprints?|timeouts?|recordings?|later|ago|per|each|long|remaining|left)\b"
)


_CALENDAR = FigurePattern(
    r"(?<![\w.,$/-])(?:\d{1,4}\s?(?:y|mo|wks?|w|d)\b\s?){2,4}(?<=\w)(?![\w'/-])|(?<![\w.,$/-])\d{1,4}(?:y|mo|w|d)(?![\w'/-])"
)
_CALENDAR_UNITS = {"y": "year", "m": "month", "w": "week", "d": "day"}
_SINCE = Pattern(r"\s(?:ago|old|later|left|remaining|pregnant|away|before|after|from|post|notice|each)\b")
_WATTS = Pattern(
    r"\s(?:LEDs?|bulbs?|chargers?|lights?|lamps?|adapt[eo]rs?|solar|panels?|speakers?|amps?|power|USB|fast|max|output|heaters?"
    r"|lasers?|equivalent|GaN|bricks?|supply|fans?|motors?)\b"
)
_AGED = Pattern(
    r"\s(?:daughters?|sons?|bab(?:y|ies)|kids?|girls?|boys?|twins?|pupp(?:y|ies)|kittens?|child(?:ren)?|infants?|toddlers?"
    r"|dogs?|cats?|nephews?|nieces?|grand\w+)\b"
)
_YEARS_OLD = FigurePattern(r"(?<![\w.,$-])(\d{1,3})[\s-]?(?:yo|y/o|y\.o\.|YO|Y/O)(?![\w/])")
_STATED = Pattern(r"(?:\b(?:is|was|are|were|am|turned|now|age)|'(?:s|m|re))\s$")


def _calendar(match: re.Match[str]) -> str:
    """``"3w 2d"``, ``"6mo"``, ``"5w ago"``; "3d" alone is a dimension, and a "60w bulb" has watts."""
    parts = [(number, _CALENDAR_UNITS[unit[0]]) for number, unit in re.findall(r"(\d+)\s?([a-z]+)", match[0])]
    number, unit = parts[0]
    if re.search(r"[-+*/=]\s?$", before(match, 2)) or re.match(r"\s?[+*=]", match.string[match.end() :]):
        return match[0]  # a letter of an equation
    since, rest = _SINCE.match(match.string, match.end()), match.string[match.end() :]
    if len(parts) == 1 and not since:
        if unit == "day" and int(number) < 5:
            return match[0]
        if unit == "week" and (int(number) > 16 or _WATTS.match(rest)):
            return _counted(number, "watt", is_attributive(match))
    if len(parts) == 1 and _AGED.match(rest):
        return f"{cardinal(int(number))} {unit} old"
    singular = len(parts) == 1 and (re.match(r" old [a-z]", rest) is not None if since else is_attributive(match))
    return " ".join(_counted(number, unit, singular) for number, unit in parts)


def _years_old(match: re.Match[str]) -> str:
    stated = _STATED.search(before(match, 12)) and not is_attributive(match) and match[1] != "1"
    return f"{cardinal(int(match[1]))} year{'s' if stated else ''} old"


def _half(letter: str | None, match: re.Match[str]) -> str:
    if not letter:
        return ""
    return f" {letter.upper()}-M" + ("." if match[0].endswith(".") and ends_sentence(match) else "")


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


def _counted(number: str | None, unit: str, singular: bool) -> str:
    if not number:
        return ""
    return f"{decimal(number)} {unit}{'' if singular or number == '1' else 's'}"


def _hours(match: re.Match[str]) -> str:
    days, hours, minutes, seconds, bare_hours, bare_minutes, bare_seconds = match.groups()
    singular = is_attributive(match)
    parts = [
        _counted(days, "day", singular),
        _counted(hours or bare_hours, "hour", singular),
        _counted(str(int(bare_minutes)) if bare_minutes else minutes, "minute", singular),
        _counted(seconds or bare_seconds, "second", singular),
    ]
    return " ".join(filter(None, parts))


def _seconds(match: re.Match[str]) -> str:
    """``"15s"`` -> ``"fifteen seconds"``, but "two 5s" are figures and a "747s" is an aeroplane."""
    number, gap = match.groups()
    whole = "." not in number
    if whole and not gap:
        lead = match.string[max(0, match.start() - 12) : match.start()]
        if re.fullmatch(r"7[0-9]7", number):
            return match[0]
        figures = _PLURAL_FIGURES.search(lead) is not None and not re.search(r"\b(?:in|of|by|and)\s$", lead)
        if figures and not _TIMED.match(match.string, match.end()):
            return plural(cardinal(number))
        if len(number) > 3:
            return match[0]
    return _counted(number, "second", is_attributive(match) or _before_timed(match))


def _before_timed(match: re.Match[str]) -> bool:
    following = _TIMED.match(match.string, match.end())
    return following is not None and following[0].strip() not in ("later", "ago", "per", "each", "remaining", "left")


def expand_times(text: str) -> str:
    """Replace times of day, ranges of them and durations written with h, m and s by words."""
    text = _RANGE.sub(lambda m: (m[1] or m[2]) + " to ", text)
    text = _CLOCK.sub(_clock, text)
    text = _HOUR.sub(_hour, text)
    text = _CALENDAR.sub(_calendar, _YEARS_OLD.sub(_years_old, text))
    text = _HOURS.sub(_hours, text)
    text = _MINUTES.sub(lambda m: f"{_counted(m[1], 'minute', False)} {_counted(m[2], 'second', False)}", text)
    return _SECONDS.sub(_seconds, text)
