"""Numbers with units: squares and cubes, "per", feet and inches, and the singular before a noun."""

from __future__ import annotations

import re

from mamtra.text.english.context import FUNCTION_WORDS, after, before, is_attributive
from mamtra.text.english.patterns import FigurePattern, Pattern
from mamtra.text.english.units import PER, UNITS
from mamtra.text.english.wordlists import STARTS_SENTENCE

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_SYMBOLS = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_UNIT = FigurePattern(
    rf"(?<![\w.^])(-?(?:{_NUMBER})|\d+ \d+/\d+|\d+/\d+)([\s-]?)({_SYMBOLS})(?:\^?([23])(?!\d))?(?![A-Za-z\d'µΩ])(\.?)"
)
_FACTORS = {symbol: forms[0] for symbol, forms in UNITS.items()} | {"N": "newton", "in": "inch"}
_LAST_FACTORS = UNITS | {"h": ("hour", "hours"), "s": ("second", "seconds"), "lbf": ("pound", "pounds")}
_PRODUCT = FigurePattern(
    rf"(?<![\w.^])({_NUMBER})\s?({'|'.join(map(re.escape, _FACTORS))})-({'|'.join(map(re.escape, _LAST_FACTORS))})(?![\w'/^-])"
)
_PER_WORDS = r"day|week|month|year|hour|minute|second|person|night|mile|gallon|serving|student|unit|user|page"
_PER_WORD = Pattern(rf"(?<=[\w%])/(?=(?:{_PER_WORDS})\b)")
_PER = Pattern(rf"(?<=[a-z\d])/({_SYMBOLS}|{'|'.join(PER)})(?:\^?([234]))?(?![A-Za-z/])")
_PER_INVERSE = FigurePattern(r"(?<=[a-z])\s(m|s|kg|K|mol|L)\^-1\b")
_FEET_INCHES = FigurePattern(r"(?<![\w.])(\d{1,2})'\s?(\d{1,2})(?:\"|'')")
_HEIGHT = FigurePattern(r"(?<![\w.'])([3-8])'(1[01]|\d)(?![\w'\"]|[.,]\d)")
_LONE_MARK = FigurePattern(r"(?<=\d)\"(?=\s([a-z]+))")
_FEET = FigurePattern(r"(?<![\w.])(\d{1,3})'(?=\s?[x×]\s?\d|\s(?:tall|long|wide|high|deep))")
_SIZE = FigurePattern(r"(?<![\w.])(\d{1,3})'\s?[x×]\s?(\d{1,3})'(?![\w'])")
_INCHES = FigurePattern(
    r"(?<=\d)\"(?=\s(?:(tall|long|wide|high|deep|thick)|screens?|pipes?|nails?|monitors?|TVs?|laptops?|tablets?)\b)"
)
_DIRECTION = FigurePattern(r"(?<=\d)°\s?([NSEW])\b(?!\.)")
_COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
_CUBIC_FREE = frozenset(("%", "°", "°C", "°F"))
_NAMED_PINT = FigurePattern(r"(?<![\w.])(\d+|\d+/\d+)\s?pts?\.(?=\s[a-z])")
_BARE = Pattern(
    r"(?<![\w'./^-])(mAh|kWh|Wh|(?<=in )psi|eV|keV|MeV|GeV|GHz|MHz|kHz|Hz|Mbps|Gbps|kbps|km/h|km|kg|cm|mm(?=\^)|mph|kV|kW|mW|mV"
    r"|kJ|kPa|m(?=\^))(?:\^([23]))?(?![\w'/^-])"
)
_WARMTH = FigurePattern(
    r"(?:(?<=is )|(?<='s )|(?<=was )|(?<=to )|(?<=about )|(?<=around )|(?<=below )|(?<=above )|(?<=hit )|(?<=reached )|(?<=over ))"
    r"(\d{2,3})([FC])(?=[,.!?;]|$|\s[a-z])"
)
_ONE_OF = Pattern(r"\b(?:per|an?|each|every|one|the)\s$")
_TEMPERATURE_K = FigurePattern(r"(?<=\d) K(?=\s*[.,;)]|$|\s(?:and|or|to|at)\b)")


def _unit(match: re.Match[str]) -> str:
    number, gap, symbol, power, dot = match.groups()
    if symbol in _CUBIC_FREE and power:
        return match[0]
    one, many = UNITS[symbol]
    attributive = symbol != "%" and is_attributive(match)
    below_one = "/" in number and " " not in number
    name = one if number.lstrip("-") == "1" or gap == "-" or attributive or below_one else many
    if power and "/" in symbol:
        name += " squared" if power == "2" else " cubed"
    elif power:
        name = {"2": "square ", "3": "cubic "}[power] + name
    keep_dot = dot if not after(match) or symbol == "%" or STARTS_SENTENCE.match(after(match)) else ""
    return f"{number} {name}{keep_dot}"


def _product(match: re.Match[str]) -> str:
    number, first, last = match.groups()
    return f"{number} {_FACTORS[first]} {_LAST_FACTORS[last][0 if number == '1' else 1]}"


def _bare(match: re.Match[str]) -> str:
    """A unit without a number that is no word: "the distance in km", "five dollars per kg", but not "Ah"."""
    one, many = UNITS[match[1]]
    name = one if _ONE_OF.search(before(match)) or match[1] == "psi" else many
    return {"2": "square ", "3": "cubic "}.get(match[2] or "", "") + name


def _per(match: re.Match[str]) -> str:
    symbol, power = match.groups()
    name = UNITS[symbol][0] if symbol in UNITS else PER[symbol]
    if power and name in ("second", "hour"):
        return f" per {name} {'squared' if power == '2' else 'cubed'}"
    return " per " + {"2": "square ", "3": "cubic "}.get(power or "", "") + name


def expand_measures(text: str) -> str:
    """``"5 km²"`` -> ``"5 square kilometers"``, ``"5 N-m"`` -> ``"5 newton meters"``; the numbers stay figures."""
    text = _HEIGHT.sub(r"\1 foot \2", _FEET_INCHES.sub(r"\1 foot \2", text))
    text = _FEET.sub(r"\1 feet", _SIZE.sub(r"\1 feet by \2 feet", text))
    text = re.sub(r"(?<=\d ft \d) in\b|(?<=\d ft \d\d) in\b|(?<=^\d)\"(?=\s*$)|(?<=^\d\d)\"(?=\s*$)", " inches", text)
    text = re.sub(r"^(\d{1,2})'(?=\s*$)", r"\1 feet", text)
    text = _WARMTH.sub(lambda m: f"{m[1]} degrees {'Fahrenheit' if m[2] == 'F' else 'Celsius'}", text)
    text = _INCHES.sub(lambda m: " inches" if m[1] else " inch", text)
    if text.count('"') == 1:  # it closes nothing
        text = _LONE_MARK.sub(lambda m: " inches" if m[1] in FUNCTION_WORDS else " inch", text)
    text = re.sub(r"(?<=°) (?=[CF]\b)", "", text)
    text = re.sub(
        r"(?<=\d) in\.(?=[,;:!?)]|$|\s[a-z])", lambda m: " inch" if before(m, 2) in (" 1", "1") else " inches", text
    )
    text = _NAMED_PINT.sub(lambda m: f"{m[1]} pint" + ("" if m[1] == "1" or "/" in m[1] else "s"), text)
    text = _DIRECTION.sub(lambda m: f" degrees {_COMPASS[m[1]]}", text)
    text = re.sub(r"(?<=\d)m(?=/s\^2)", " meters", text)
    text = _UNIT.sub(_unit, _PRODUCT.sub(_product, text))
    text = _PER_WORD.sub(" per ", text)
    text = _TEMPERATURE_K.sub(" kelvin", text)
    text = _PER.sub(_per, _PER_INVERSE.sub(lambda m: " per " + (UNITS.get(m[1], (PER.get(m[1], m[1]),))[0]), text))
    return _BARE.sub(_bare, text)
