"""Signs of trade, code and mathematics: names of operators, powers, signs before numbers."""

from __future__ import annotations

import re

from mamtra.text.english.context import before
from mamtra.text.english.numbers import cardinal, decimal, ordinal
from mamtra.text.english.patterns import FigurePattern, Pattern

_NAMES = [
    (Pattern(r"\bAT&T\b"), "A-T and T"),
    (Pattern(r"\b([A-Z])&([A-Z])s\b"), r"\1 and \2's"),
    (FigurePattern(r"\bAD(?=\s?\d{1,4}\b)|(?<=\d )AD\b"), "A-D"),
    (FigurePattern(r"\bT-(?=\d+ (?:seconds?|minutes?|hours?|days?)\b)"), "T minus "),
    (Pattern(r"\bR&([BD])\b"), r"R and \1"),
    (Pattern(r"\bQ&A\b"), "Q and A"),
    (Pattern(r"\s*(?:!==?|≠|=/=)\s*"), " not equal to "),
    (Pattern(r"\s*(?:<=|≤|⩽)(?!>)\s*"), " less than or equal to "),
    (Pattern(r"\s*(?:>=|≥|⩾)\s*"), " greater than or equal to "),
    (Pattern(r"(?<=[\w)\]\s\"'])\s*={2,3}\s*(?=[\w(\"'-])"), " equals "),
    (Pattern(r"([A-Z])\s?&\s?([A-Z])(?![A-Za-z])"), r"\1 and \2"),
    (Pattern(r"\s*&&\s*"), " and "),
    (Pattern(r"(?<=[\w)])\s*\|\|\s*(?=[\w(!])"), " or "),
    (Pattern(r"\bC\+\+"), "C plus plus"),
    (Pattern(r"(?<=\w)\+\+"), " plus plus"),
    (Pattern(r"\b([a-z])--(?=[;)]|$)"), r"\1 minus minus"),
    (Pattern(r"(?<=\w)\s*\+=\s*"), " plus equals "),
    (Pattern(r"(?<=\w)\s*-=\s*"), " minus equals "),
    (Pattern(r"\b([A-GJ])#(?!\w)"), r"\1 sharp"),
    (Pattern(r"(?<![\w-])([A-DF])-(?=\s(?:grades?|average|student|in|on|for|and|or)\b|[.,;!?]|$)"), r"\1 minus"),
    (Pattern(r"[=-]+>|→"), " to "),
    (Pattern(r"(?<=\w)\s*<-+\s*(?=[A-Za-z])"), " from "),
    (FigurePattern(r"~\s?(?=\d)"), "about "),
    (Pattern(r"\band/or\b"), "and or"),
    (Pattern(r"\b(he|she|him|his|hers?)/(she|he|hers?|him|his)\b", re.I), r"\1 or \2"),
    (Pattern(r"\$(?=[A-Za-z_])"), "dollar "),
    (Pattern(r"\b([a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*)\.(?=[a-z])|\b([a-z]{2,})\.(?=[a-z_]+\()"), r"\1\2 dot "),
    (Pattern(r"\btl;dr\b", re.I), "T-L-D-R"),
    (Pattern(r"\baka\b"), "A-K-A"),
    (Pattern(r"\bAAA(?=\s(?:batter(?:y|ies)|cells?)\b)"), "triple A"),
    (Pattern(r"\bAA(?=\s(?:batter(?:y|ies)|cells?)\b)"), "double A"),
    (Pattern(r"\bs/he\b"), "she or he"),
    (Pattern(r"(?<![\w/])([AaNn])/([CcAa])(?![\w/])"), lambda m: f"{m[1]}-{m[2]}".upper()),
    (
        Pattern(r"(?<![\w/])(I/O|A/B|A/V|R/C|TCP/IP)(?![\w/])"),
        lambda m: m[1].replace("/", " " if len(m[1]) > 3 else "-"),
    ),
    (
        Pattern(r"(?<![\w/=] )(?<![\w/])b/c(?=\s[A-Za-z])|(?<=[a-z] )b/c(?=\s(?:I|it|he|she|we|they|you|the|of|my)\b)"),
        "because",
    ),
    (Pattern(r"(?<![\w/])c/o(?=\s[A-Z])"), "care of"),
    (FigurePattern(r"\b24/7/365\b"), "twenty four seven three sixty five"),
    (Pattern(r"\bWW(I{1,3}|[123])\b"), r"World War \1"),
    (Pattern(r"(?<![\w-])(?:A-Z|a-z)(?![\w-])"), "A to Z"),
    (Pattern(r"(?<=[A-Za-z])-a-(?=\w)"), " a "),
]
_CURRENCY = r"[$£€¥₹₽₪₩₺₫₴₦₱฿₿]"
_ZONE = FigurePattern(r"\b(UTC|GMT)\s?([+-])\s?(\d{1,2})(?::?(\d{2}))?\b")
_SIGNED_MONEY = Pattern(
    rf"(?:(?<=^)|(?<=[\s(=<>:,/\[]))([-–+])\s?(?=(?:[A-Z]{{1,2}})?{_CURRENCY}\s?\.?\d)|\((?={_CURRENCY}[\d,.]+\))"
)
_SIGN_AT_END = FigurePattern(
    rf"(?:(?<=^)|(?<=[\s(=<>:,/\[]))[-–](?=\d[\d.,]*(?:\s?(?:k|m|bn?|tn?))?\s?{_CURRENCY}(?!\s?\d))", re.IGNORECASE
)
_TWICE = FigurePattern(rf"(?<![\w.,])(\d[\d.,]*)\s?({_CURRENCY})\s?[-–]\s?(\d[\d.,]*\s?)(?=\2)")
_RANGE_AT_END = FigurePattern(rf"(?<![\w.,$£€])(\d[\d.,]*)\s?[-–]\s?(?=\d[\d.,]*\s?{_CURRENCY}(?!\d))")
_UNSIGNED_RANGE = FigurePattern(rf"(?<![\w.,$£€])(\d[\d.,]*)\s?[-–]\s?(?={_CURRENCY}\d)")
_NEGATIVE = FigurePattern(r"(?:(?<=^)|(?<=[\s(=<>≈±*×÷^\[]))[-–](?=\.?\d)")
_POSITIVE = FigurePattern(r"(?:(?<=^)|(?<=[\s(=]))\+(?=\.?\d)")
_MINUS = FigurePattern(r"(?<=\d)\s+[-–]\s+(?=\.?\d)")
_MINUS_BEFORE_EQUALS = FigurePattern(r"(?<![\d-])(\d+(?:\.\d+)?)\s?[-–]\s?(\d+(?:\.\d+)?)(?=\s?[=≈≠<>])")
_MINUS_LETTER = Pattern(
    r"(?:(?<=[=(+*/]\s)|(?<=[=(+*/])|(?<=\d)|\b(?=[a-z]\s?[-–]\s?\w+\s?=))([a-z]?)\s?[-–]\s?(?=[a-z]\b|\d+\b(?!-))"
)
_SCIENTIFIC = FigurePattern(
    r"(?<![\w.,])(\d+(?:\.\d+)?)(?:e([+-]?)(\d{1,3})|E([+-])(\d{1,3})|(?<=\.\d)E()(\d{1,3})|(?<=\.\d\d)E()(\d{1,3}))(?!\w|\.\d)"
)
_TIMES_TEN = FigurePattern(r"(?<=\d)\s?[x×·*]\s?(?=10\s?\^)", re.IGNORECASE)
_POWER = Pattern(r"\s?(?:\^|\*\*)\s?(?:\(\s?([-+−–]?\s?\w+(?:\s?[-+*/]\s?\w+)?)\s?\)|([-+−–]?)(\d+(?:\.\d+)?|[a-z]\b))")
_CONSONANTS = Pattern(r"\b([b-df-hj-np-tv-xz])([b-df-hj-np-tv-xz])(?=\s?\^|\s(?:squared|cubed))")
_FACTORIAL = FigurePattern(r"(?<=\d)!(?=\s?[=+*/])")


def expand_names(text: str) -> str:
    """Operators and names that are written with signs: ``"a && b"`` -> ``"a and b"``, ``"C#"`` -> ``"C sharp"``."""
    for pattern, replacement in _NAMES:
        text = pattern.sub(replacement, text)
    return _ZONE.sub(_zone, text)


def _zone(match: re.Match[str]) -> str:
    name, sign, hours, minutes = match.groups()
    said = f"{'-'.join(name)} {'plus' if sign == '+' else 'minus'} {cardinal(int(hours))}"
    return said + (f" {cardinal(int(minutes))}" if minutes and int(minutes) else "")


def expand_signed_money(text: str) -> str:
    """``"-$20"`` -> ``"negative $20"``."""
    text = _TWICE.sub(r"\1 to \3", text)
    text = re.sub(rf"({_CURRENCY})\s?-(?=\d)", r"-\1", text)  # $-5
    text = _RANGE_AT_END.sub(r"\1 to ", text)
    text = _SIGN_AT_END.sub("negative ", _UNSIGNED_RANGE.sub(r"\1 to ", text))
    return _SIGNED_MONEY.sub(lambda m: {"+": "plus ", "(": "("}.get(m[0].strip(), "negative "), text)


def expand_differences(text: str) -> str:
    """``"7-3=4"`` -> ``"7 minus 3=4"``; without an equals sign it may be a range."""
    return _MINUS.sub(" minus ", _MINUS_BEFORE_EQUALS.sub(r"\1 minus \2", text))


def _scientific(match: re.Match[str]) -> str:
    mantissa = match[1]
    sign, power = next((match[i], match[i + 1]) for i in (2, 4, 6, 8) if match[i + 1])
    return f"{decimal(mantissa)} times ten to the {_exponent(sign, power)}"


def _exponent(sign: str, power: str) -> str:
    if sign in ("-", "−", "–"):
        return f"negative {decimal(power)}"
    return (
        decimal(power) if "." in power or power == "0" else ordinal(int(power)) if len(power) < 10 else decimal(power)
    )


def _power(match: re.Match[str]) -> str:
    inner = (match[1] or "").replace(" ", "")
    sign, power = (inner[:1] if inner[:1] in "-+−–" else "", inner.lstrip("-+−–")) if inner else (match[2], match[3])
    base = before(match, 1)
    if not (base.isalnum() or base in (")", "]", "'")):
        return match[0]
    space = " " if match.string[match.end() : match.end() + 1].isalnum() else ""
    if not sign and power in ("2", "3"):
        return (" squared" if power == "2" else " cubed") + space
    if power.replace(".", "").isdigit():
        return f" to the {_exponent(sign, power)}{space}"
    return f" to the {'negative ' if sign in ('-', '−', '–') else ''}{power}{space}"


def expand_mathematics(text: str) -> str:
    """Powers and signs: ``"3×10^8"`` -> ``"3 times 10 to the eighth"``, ``"x=-2"`` -> ``"x=negative 2"``."""
    text = _CONSONANTS.sub(r"\1 \2", text)
    text = _TIMES_TEN.sub(" times ", text)
    text = _SCIENTIFIC.sub(_scientific, text)
    if "^" in text or "**" in text:
        text = _POWER.sub(_power, text)
    text = _FACTORIAL.sub(" factorial", text)
    text = re.sub(r"(?<=\d)\s?\*\s?(?=\d)", " times ", text)
    text = _NEGATIVE.sub("negative ", text)
    if "=" in text:
        text = _MINUS_LETTER.sub(r"\1 minus ", text)
    text = _POSITIVE.sub("plus ", text)
    return re.sub(r"(?<=\d)\+(?!\s?\d)", " plus", text)


AFTER_NUMBERS = {
    "&": " and ", "+": " plus ", "=": " equals ", "@": " at ", "%": " percent ", "°": " degrees ", "§": " section ",
    "×": " times ", "÷": " divided by ", "±": " plus or minus ", "¬": " not ", "≤": " less than or equal to ",
    "≥": " greater than or equal to ", "≈": " about ", "≠": " not equal to ", "<": " less than ", ">": " greater than ",
    "$": " dollars ", "£": " pounds ", "€": " euros ", "¥": " yen ", "¢": " cents ", "₹": " rupees ", "₽": " rubles ",
    "₪": " shekels ", "₩": " won ", "₺": " lira ", "₫": " dong ", "₴": " hryvnias ", "₦": " naira ", "₱": " pesos ",
    "฿": " baht ", "₿": " bitcoin ", "₡": " colones ", "₵": " cedis ", "₸": " tenge ", "₾": " lari ", "µ": " mu ",
    "Ω": " ohms ", "\\": " backslash ", "/": " slash ", "[": "(", "{": "(", "]": ")", "}": ")", "|": ", ", "#": " ",
    "*": " ", "_": " ", "~": " ", "^": " ",
}  # fmt: skip
"""What is said for each sign that no other rule has read."""
