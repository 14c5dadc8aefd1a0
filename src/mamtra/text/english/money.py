"""Amounts of money: currencies by sign and by code, ranges, scales and the singular before a noun."""

from __future__ import annotations

import re

from mamtra.text.english.context import is_attributive
from mamtra.text.english.numbers import cardinal, decimal, plural
from mamtra.text.english.patterns import FigurePattern

_DOLLARS = {
    "US": "U-S", "CA": "Canadian", "C": "Canadian", "A": "Australian", "AU": "Australian", "NZ": "New Zealand",
    "HK": "Hong Kong", "NT": "New Taiwan", "S": "Singapore", "SG": "Singapore", "TT": "Trinidad", "J": "Jamaican",
}  # fmt: skip
Currency = tuple[str, str, str, str]
"""One, many; one and many of its hundredths."""
_SIGNS: dict[str, Currency] = {
    "$": ("dollar", "dollars", "cent", "cents"), "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"), "¥": ("yen", "yen", "sen", "sen"), "¢": ("cent", "cents", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"), "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₪": ("shekel", "shekels", "agora", "agorot"), "₩": ("won", "won", "", ""), "₺": ("lira", "lira", "", ""),
    "₫": ("dong", "dong", "", ""), "₴": ("hryvnia", "hryvnias", "", ""), "₦": ("naira", "naira", "kobo", "kobo"),
    "₱": ("peso", "pesos", "centavo", "centavos"), "฿": ("baht", "baht", "satang", "satang"),
    "₿": ("bitcoin", "bitcoins", "", ""), "₡": ("colon", "colones", "", ""), "₵": ("cedi", "cedis", "", ""),
    "₸": ("tenge", "tenge", "", ""), "₾": ("lari", "lari", "", ""), "R$": ("real", "reais", "centavo", "centavos"),
    "MX$": ("Mexican peso", "Mexican pesos", "centavo", "centavos"), "zł": ("zloty", "zlotys", "grosz", "groszy"),
}  # fmt: skip
_SIGNS |= {f"{key}$": (f"{name} dollar", f"{name} dollars", "cent", "cents") for key, name in _DOLLARS.items()}
_CODES: dict[str, Currency] = {
    "USD": _SIGNS["US$"], "EUR": _SIGNS["€"], "GBP": _SIGNS["£"], "JPY": _SIGNS["¥"], "INR": _SIGNS["₹"],
    "RUB": _SIGNS["₽"], "ILS": _SIGNS["₪"], "KRW": _SIGNS["₩"], "CAD": _SIGNS["C$"], "AUD": _SIGNS["A$"],
    "NZD": _SIGNS["NZ$"], "HKD": _SIGNS["HK$"], "SGD": _SIGNS["S$"], "BRL": _SIGNS["R$"], "MXN": _SIGNS["MX$"],
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"), "CNY": ("yuan", "yuan", "", ""),
    "RMB": ("yuan", "yuan", "", ""), "SEK": ("Swedish krona", "Swedish kronor", "", ""),
    "NOK": ("Norwegian krone", "Norwegian kroner", "", ""), "DKK": ("Danish krone", "Danish kroner", "", ""),
    "PLN": ("zloty", "zlotys", "", ""), "TRY": _SIGNS["₺"], "ZAR": ("rand", "rand", "cent", "cents"),
    "THB": _SIGNS["฿"], "AED": ("dirham", "dirhams", "", ""), "BTC": _SIGNS["₿"], "UAH": _SIGNS["₴"],
    "CZK": ("Czech koruna", "Czech korunas", "", ""), "HUF": ("forint", "forints", "", ""),
}  # fmt: skip
SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "mm": "million", "mln": "million", "mio": "million", "b": "billion",
    "bn": "billion", "t": "trillion", "tn": "trillion", "trn": "trillion",
}  # fmt: skip
_SCALE_WORDS = "hundred|thousand|million|billion|trillion"
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_SCALES = rf"(?:[\s-]?({_SCALE_WORDS})s?\b|\s?(k|K|mn|mm|mln|mio|m|M|MM|bn|b|B|tn|trn|T)\b)"
_SIGN = "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True) if sign not in ("¢", "zł"))
_BEFORE = rf"(?<![A-Za-z])({_SIGN}|(?:{'|'.join(_CODES)})(?=\s?\d))"
_MONEY = FigurePattern(
    rf"{_BEFORE}\s?({_NUMBER}){_SCALES}?(?:\s?[-–]\s?(?:{_SIGN})?({_NUMBER})(?!-)(?:\s?({_SCALE_WORDS})\b|(k|K|mn|m|M|bn|b|B|tn|T)\b)?)?"
    r"(-(?:an?-)?(?=[a-z])|p\b|s\b)?"
)
_AFTER = FigurePattern(rf"(?<![\w.,])({_NUMBER}){_SCALES}?\s?([€£₹₽₪₩₺₫₴₦₱฿₿]|\$(?!\s?[\d.])|(?:{'|'.join(_CODES)})\b)")
_COMMA_CENTS = FigurePattern(rf"((?:{_SIGN})\s?\d+),(\d\d)(?![\d,])|(?<![\d.,])(\d+),(\d\d)(?=\s?€)")
_CONTINENTAL = FigurePattern(
    rf"((?:{_SIGN})\s?)(\d{{1,3}}(?:\.\d{{3}})+),(\d\d)(?!\d)|(?<![\w.,])()(\d{{1,3}}(?:\.\d{{3}})+),(\d\d)(?=\s?(?:€|EUR\b))"
)
_CENTS = FigurePattern(r"(?<![\d.,])(\d+)\s?¢")
_PENCE = FigurePattern(r"(?<![\w.,$£€])(\d{1,2})p\b")


def _amount(number: str, currency: Currency, scale: str | None, singular: bool = False) -> str:
    one, many, small_one, small_many = currency
    many = one if singular else many
    if scale:
        return f"{decimal(number)} {scale} {many}"
    whole, _, cents = number.replace(",", "").partition(".")
    if len(cents) not in (0, 2) or not small_one:
        return f"{decimal(number)} {one if number == '1' else many}"
    small = int(cents or 0)
    parts = []
    if whole.strip("0") or not small:
        parts.append(f"{cardinal(whole or '0')} {one if whole.lstrip('0') == '1' else many}")
    if small:
        parts.append(f"{cardinal(small)} {small_one if small == 1 or singular else small_many}")
    return " and ".join(parts)


def _currency(name: str) -> Currency:
    return _SIGNS.get(name) or _CODES[name]


def _money(match: re.Match[str]) -> str:
    name, first, word, letter, last, last_word, last_letter, tail = match.groups()
    if tail == "s" and first.isdigit() and not (word or letter or last):
        return plural(cardinal(first).removeprefix("one "))  # bills: "he paid in $20s"
    scale = word or (SCALES[letter.lower()] if letter else None)
    last_scale = last_word or (SCALES[last_letter.lower()] if last_letter else None)
    currency = _currency(name)
    compound = tail is not None and tail.startswith("-")  # a $10-an-hour job
    singular = compound or is_attributive(match)
    end = tail.replace("-", " ") if compound else ""
    if last is None:
        return _amount(first, currency, scale, singular) + end
    low = f"{decimal(first)} {scale} {currency[1]}" if scale and last_scale != scale else decimal(first)
    return f"{low} to {_amount(last, currency, last_scale or (scale if not last_scale else None), singular)}{end}"


def _after(match: re.Match[str]) -> str:
    number, word, letter, name = match.groups()
    scale = word or (SCALES[letter.lower()] if letter else None)
    return _amount(number, _currency(name), scale, is_attributive(match))


def expand_money(text: str) -> str:
    """``"C$50"`` -> ``"fifty Canadian dollars"``, ``"a $20 bill"`` -> ``"a twenty dollar bill"``."""
    text = re.sub(r"\b(?:Rs|INR)\.?\s?(?=\d)", "₹", text)
    text = re.sub(r"¢\s?(\d+)(?![\d.,])", r"\1¢", text)
    text = _CONTINENTAL.sub(lambda m: f"{m[1] or ''}{(m[2] or m[5]).replace('.', ',')}.{m[3] or m[6]}", text)
    text = _COMMA_CENTS.sub(lambda m: f"{m[1]}.{m[2]}" if m[1] else f"{m[3]}.{m[4]}", text)
    text = _AFTER.sub(_after, _MONEY.sub(_money, text))
    text = _CENTS.sub(lambda m: f"{m[1]} cent" + ("" if m[1] == "1" or is_attributive(m) else "s"), text)
    return _PENCE.sub(lambda m: "one penny" if m[1] == "1" else f"{m[1]} pence", text)
