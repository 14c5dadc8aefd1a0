"""Fractions, ranges, scores, years and all figures that are left."""

from __future__ import annotations

import re

from mamtra.text.english.context import before
from mamtra.text.english.measures import expand_measures
from mamtra.text.english.money import SCALES, expand_money
from mamtra.text.english.numbers import cardinal, decimal, digits, fraction, ordinal, pairs, plural, year
from mamtra.text.english.patterns import FigurePattern
from mamtra.text.english.symbols import expand_differences, expand_mathematics, expand_signed_money
from mamtra.text.english.units import UNITS

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_COUNTED = "|".join(
    sorted(
        {re.escape(forms[1].split()[0]) for forms in UNITS.values()}
        | {"people", "years", "steps", "miles", "points", "words", "items", "dollars", "euros", "votes", "units"}
    )
)
_FRACTION = FigurePattern(
    r"(?<![\w/.])(?:(\d+)[\s-])?(\d{1,6})/(\d{1,6})(?:rds?|ths?|nds?)?(?![\w/])(?:\s+(of an?|of the|cup|inch|mile|hour)\b)?"
)
_RANGE = FigurePattern(
    r"(?<![\w.-])(\d[\d,]*(?:\.\d+)?)([%°]?)\s?[-–]\s?(\d[\d,]*(?:\.\d+)?)(?![\d-]|-?[A-Z]{2})(?=\b|[^\W\d_]|[^\w])"
)
_SCORE = FigurePattern(r"(?<![\w.,/-])(\d{1,2})[-–]0(?![\w,/-]|\.\d)")
_LABEL = FigurePattern(
    r"\b([Ff]light|[Rr]oom|[Ss]uite|[Aa]partment|[Aa]pt\.?|[Hh]ighway|[Rr]oute|[Ee]xtension|[Ee]xt\.?|[Uu]nit|[Ii]nterstate"
    r"|[Tt]rain|[Bb]us|[Ll]ocker|[Cc]hannel)\s+#?(\d{3,4})\b(?![,.]\d)"
)
_HOUSE = FigurePattern(
    r"(?<![\w.,$-])(\d{3,4})([A-Z])?(?=\s(?:North |South |East |West )?(?:[A-Z][a-z]+ ){1,2}"
    r"(?:Street|Avenue|Boulevard|Road|Lane|Drive|Court|Place|Square|Highway|Parkway|Terrace|Way|Apartment)\b)"
)
_ORDINAL = FigurePattern(r"\b(\d[\d,]{0,20})(?:st|nd|rd|th)\b")
_YEARLIKE = FigurePattern(
    r"(?<![\w.,$-])(1[1-9]\d\d|20\d\d|(?:(?<=[Ii]n )|(?<=year ))10[1-9]\d)"
    rf"(?![\w,.]*\d)(?!\s(?:{_COUNTED})\b)(?!\w)"
)
_SIZE = FigurePattern(
    r"(?<=\d)\s?×\s?(?=(?:\d[\d.]*\s?×\s?){0,2}\d[\d.]*\s?(?:[mck]?m|in|ft|px|(?:centi|milli)?meters?|inch(?:es)?|feet)\b(?!\s?[=^]))"
)
_PLAIN = FigurePattern(rf"({_NUMBER})(s\b)?")


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom, following = match.groups()
    upper, lower = int(top), int(bottom)
    if f"{top}/{bottom}" in ("24/7", "9/11", "50/50", "20/20"):
        said = f"{cardinal(upper)} {cardinal(lower)}"
    elif lower == 0 or (upper >= lower and not whole):
        said = f"{cardinal(upper)} over {cardinal(lower)}"
    else:
        said = fraction(upper, lower)
    if whole:
        part = "one half" if (upper, lower) == (1, 2) else said
        said = f"{whole} and " + re.sub("^one (?=e)", "an ", part).replace("one ", "a ", 1)
    elif following and following.startswith("of a") and upper == 1:
        said = said.replace("one ", "a ", 1)
    return said + (f" {following}" if following else "")


def _range(match: re.Match[str]) -> str:
    first, sign, last = match.groups()
    if first == last == "50":
        return "50 50"
    if len(first) == 4 and len(last) == 2 and first[:2] in ("17", "18", "19", "20"):
        return f"{first} to {cardinal(int(last)) if last[0] != '0' else 'oh ' + cardinal(int(last))}"
    return f"{first}{sign} to {last}"


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
    left = " " if before(match, 1).isalnum() else ""
    return f"{left}{said}{' ' if match.string[match.end() : match.end() + 1].isalnum() else ''}"


def expand_quantities(text: str) -> str:
    """Replace money, measures, fractions, ranges, years and all remaining digits by words."""
    text = expand_money(expand_signed_money(text))
    text = re.sub(r"(?<=\d)x\b(?!\s?[\d+*/=^-])", " times", text)
    text = re.sub(r"(?<=\d)\s?[xX]\s?(?=\d+(?:\.\d+)?\s?=)", " times ", text)
    text = re.sub(r"(?<=\d)\s?[xX]\s?(?=\d+(?!\d*\s?\^))", " by ", text)
    text = _SIZE.sub(" by ", text)
    text = re.sub(r"(?<![\d,.])(\d+),(?=\d{1,2}(?![\d,]|\.\d))", r"\1, ", text)
    text = expand_differences(text)
    text = _SCORE.sub(lambda m: f"{m[1]} to nothing" if m[1] != "0" else "nothing to nothing", text)
    text = re.sub(r"\b0[-–](?=[1-9]\d?(?![\w-]|\.\d))", "nothing to ", text)
    text = _RANGE.sub(_range, text)
    text = expand_measures(text)
    text = expand_mathematics(text)
    text = _FRACTION.sub(_fraction, text)
    text = re.sub(r"(?<=\d):(?=\d)", " to ", text)
    text = re.sub(r"(?<=\d\d)[kK]\b", " thousand", text)
    text = re.sub(
        r"(?<=\d)\s?(M(?=\s[a-z])|B(?=\s[a-z])|mn|mln|bn|tn|trn)\b", lambda m: f" {SCALES[m[1].lower()]}", text
    )
    text = _HOUSE.sub(lambda m: pairs(m[1]) + (f" {m[2]}" if m[2] else ""), text)
    text = _LABEL.sub(lambda m: f"{m[1]} {pairs(m[2])}", text)
    text = re.sub(r"\b(?:No\.|NO\.|[Nn]os?\.)\s?(?=\d)|#\s?(?=\d)", "number ", text)
    text = re.sub(r"(?<=\d(?:st|nd|rd|th))\s?[-–]\s?(?=\d+(?:st|nd|rd|th)\b)", " to ", text)
    text = _ORDINAL.sub(lambda m: ordinal(int(m[1].replace(",", ""))), text)
    text = re.sub(r"(?<=[A-Za-z])-(?=\d)|(?<=\d)-(?=[A-Za-z])", " ", text)
    text = _YEARLIKE.sub(lambda m: year(int(m[1])), text)
    text = re.sub(r"\b(\d+(?:\.\d+){2,})\b", lambda m: " point ".join(map(cardinal, m[1].split("."))), text)
    return _PLAIN.sub(_plain, text)
