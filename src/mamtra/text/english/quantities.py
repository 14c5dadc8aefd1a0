"""Money, units, percentages, fractions, ranges and bare numbers."""

from __future__ import annotations

import re

from mamtra.text.english.numbers import cardinal, decimal, digits, fraction, ordinal, pairs, plural, year
from mamtra.text.english.wordlists import STARTS_SENTENCE

_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "¢": ("cent", "cents", "", ""),
}
_SCALE = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "t": "trillion"}
_SCALE_WORDS = "hundred|thousand|million|billion|trillion"
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_MONEY = re.compile(
    rf"(?:US|CA|A)?([$£€¥])\s?({_NUMBER})(?:\s?[-–]\s?[$£€¥]?({_NUMBER}))?(?:\s?({_SCALE_WORDS})\b|(k|K|m|M|mn|b|B|bn|T)\b)?"
)
_CENTS = re.compile(r"(\d+)\s?¢")
_UNITS = {
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "km²": ("square kilometer", "square kilometers"),
    "m/s": ("meter per second", "meters per second"),
    "mph": ("mile per hour", "miles per hour"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "sq ft": ("square foot", "square feet"),
    "fl oz": ("fluid ounce", "fluid ounces"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "µm": ("micrometer", "micrometers"),
    "nm": ("nanometer", "nanometers"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "yds": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "gal": ("gallon", "gallons"),
    "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "kW": ("kilowatt", "kilowatts"),
    "MW": ("megawatt", "megawatts"),
    "dB": ("decibel", "decibels"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "m": ("meter", "meters"),
    "g": ("gram", "grams"),
    "W": ("watt", "watts"),
    "V": ("volt", "volts"),
    "L": ("liter", "liters"),
    "l": ("liter", "liters"),
}
_UNIT = re.compile(
    rf"(?<![\w.])(-?(?:{_NUMBER}))([\s-]?)("
    + "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
    + r")(?:\^([23]))?(?![A-Za-z'])(\.?)"
)
_PER = re.compile(r"(?<=[a-z\d])/(kg|km|lb|oz|hr|gal|min|sec|ml|mi)\b")
_FEET_INCHES = re.compile(r"(?<![\w.])(\d{1,2})'\s?(\d{1,2})\"")
_COUNTED = "|".join(
    {forms[1].split()[0] for forms in _UNITS.values()} | {"people", "years", "steps", "miles", "points"}
)
_FRACTION = re.compile(
    r"(?<![\w/.])(?:(\d+)[\s-])?(\d+)/(\d+)(?:rds?|ths?|nds?)?(?![\w/])(?:\s+(of an?|of the|cup|inch|mile|hour)\b)?"
)
_RANGE = re.compile(r"(?<![\w.-])(\d[\d,]*(?:\.\d+)?)\s?[-–]\s?(\d[\d,]*(?:\.\d+)?)(?![\w-])")
_LABEL = re.compile(
    r"\b([Ff]light|[Rr]oom|[Ss]uite|[Aa]partment|[Aa]pt\.?|[Hh]ighway|[Rr]oute|[Ee]xtension|[Ee]xt\.?|[Uu]nit|[Ii]nterstate"
    r"|[Tt]rain|[Bb]us|[Ll]ocker|[Cc]hannel)\s+#?(\d{3,4})\b(?![,.]\d)"
)
_ORDINAL = re.compile(r"\b(\d[\d,]*)(?:st|nd|rd|th)\b")
_YEARLIKE = re.compile(
    r"(?<![\w.,$-])(1[1-9]\d\d|20\d\d|(?:(?<=[Ii]n )|(?<=year ))10[1-9]\d)"
    rf"(?![\w,.]*\d)(?!\s(?:{_COUNTED})\b)(?!\w)"
)
_PLAIN = re.compile(rf"({_NUMBER})(s\b)?")


def _amount(number: str, currency: str, scale: str | None) -> str:
    one, many, small_one, small_many = _CURRENCIES[currency]
    if scale:
        return f"{decimal(number)} {scale} {many}"
    whole, _, cents = number.replace(",", "").partition(".")
    if len(cents) not in (0, 2) or not small_one:
        return f"{decimal(number)} {many}"
    big, small = int(whole or 0), int(cents or 0)
    parts = []
    if big or not small:
        parts.append(f"{cardinal(big)} {one if big == 1 else many}")
    if small:
        parts.append(f"{cardinal(small)} {small_one if small == 1 else small_many}")
    return " and ".join(parts)


def _money(match: re.Match[str]) -> str:
    currency, first, last, word, letter = match.groups()
    scale = word or (_SCALE[letter.lower()] if letter else None)
    if last is None:
        return _amount(first, currency, scale)
    return f"{decimal(first)} to {_amount(last, currency, scale)}"


def _unit(match: re.Match[str]) -> str:
    number, gap, unit, power, dot = match.groups()
    singular, many = _UNITS[unit]
    joined_word = gap == "-"
    name = singular if number.lstrip("-") == "1" or joined_word else many
    if power:
        name = {"2": "square ", "3": "cubic "}[power] + name
    rest = match.string[match.end() :]
    keep_dot = dot if not rest or unit == "%" or STARTS_SENTENCE.match(rest) else ""
    return f"{number} {name}{keep_dot}"


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom, after = match.groups()
    upper, lower = int(top), int(bottom)
    if f"{top}/{bottom}" in ("24/7", "9/11", "50/50"):
        said = f"{cardinal(upper)} {cardinal(lower)}"
    elif lower == 0 or (upper >= lower and not whole):
        said = f"{cardinal(upper)} over {cardinal(lower)}"
    else:
        said = fraction(upper, lower)
    if whole:
        part = "one half" if (upper, lower) == (1, 2) else said
        said = f"{whole} and " + re.sub("^one (?=e)", "an ", part).replace("one ", "a ", 1)
    elif after and after.startswith("of a") and upper == 1:
        said = said.replace("one ", "a ", 1)
    return said + (f" {after}" if after else "")


def _range(match: re.Match[str]) -> str:
    first, last = match.groups()
    if len(first) == 4 and len(last) == 2 and first[:2] in ("17", "18", "19", "20"):
        return f"{first} to {cardinal(int(last)) if last[0] != '0' else 'oh ' + cardinal(int(last))}"
    return f"{first} to {last}"


def _plain(match: re.Match[str]) -> str:
    text = match[1]
    whole = text.partition(".")[0]
    if "," not in text and "." not in text and (len(text) > 9 or (len(text) > 1 and text[0] == "0")):
        said = digits(text)
    elif len(whole) > 1 and whole[0] == "0":
        said = digits(whole) + " point " + digits(text.partition(".")[2], "zero")
    else:
        said = decimal(text)
    if match[2]:
        said = plural(said)
    before, after = match.string[: match.start()], match.string[match.end() :]
    left = " " if before[-1:].isalnum() else ""
    return f"{left}{said}{' ' if after[:1].isalnum() else ''}"


def expand_quantities(text: str) -> str:
    """Replace money, measures, fractions, ranges, years and all remaining digits by words."""
    text = _MONEY.sub(_money, text)
    text = _CENTS.sub(lambda m: f"{m[1]} cent" + ("" if m[1] == "1" else "s"), text)
    text = re.sub(r"(?<=\d)\s?[xX]\s?(?=\d)", " by ", text)
    text = re.sub(r"(?<=\d)x\b", " times", text)
    text = _FEET_INCHES.sub(r"\1 foot \2", text)
    text = re.sub(r"(?<=\d) in\.(?=[,;:!?)]|$|\s[a-z])", " inches", text)
    text = _FRACTION.sub(_fraction, text)
    text = _RANGE.sub(_range, text)
    text = re.sub(r"(?<=\d):(?=\d)", " to ", text)
    text = re.sub(r"(?<=\d\d)[kK]\b", " thousand", text)
    text = re.sub(r"(?<=\d)(M|B)\b(?=\s[a-z])", lambda m: {"M": " million", "B": " billion"}[m[1]], text)
    text = _UNIT.sub(_unit, text)
    text = re.sub(r"(?<=\w)/(?=(?:day|week|month|year|hour|minute|second|person|night|mile|gallon)\b)", " per ", text)
    text = _PER.sub(lambda m: " per " + _UNITS[m[1]][0], text)
    text = _LABEL.sub(lambda m: f"{m[1]} {pairs(m[2])}", text)
    text = re.sub(r"\b(?:No\.|[Nn]os?\.)\s?(?=\d)|#\s?(?=\d)", "number ", text)
    text = re.sub(r"(?:(?<=\s)|(?<=^)|(?<=\())[-–](?=\.?\d)", "negative ", text)
    text = _ORDINAL.sub(lambda m: ordinal(int(m[1].replace(",", ""))), text)
    text = re.sub(r"(?<=[A-Za-z])-(?=\d)|(?<=\d)-(?=[A-Za-z])", " ", text)
    text = _YEARLIKE.sub(lambda m: year(int(m[1])), text)
    text = re.sub(r"\b(\d+(?:\.\d+){2,})\b", lambda m: " point ".join(cardinal(int(p)) for p in m[1].split(".")), text)
    return _PLAIN.sub(_plain, text)
