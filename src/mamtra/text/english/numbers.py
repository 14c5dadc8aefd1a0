"""Numbers as English words, American style: no "and" inside, no hyphens, no commas."""

from __future__ import annotations

from mamtra.text.english.wordlists import listed

ONES = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = listed("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
SCALES = ["", "thousand", "million", "billion", "trillion", "quadrillion"]
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_LONGEST = 3 * len(SCALES)


def cardinal(number: int | str) -> str:
    """``48208`` -> ``"forty eight thousand two hundred eight"``; numbers too large to name are read digit by digit.

    A text of digits is never turned into an integer longer than can be named, so that its length does not matter.
    """
    if isinstance(number, str):
        if len(number) > _LONGEST:
            return digits(number)
        number = int(number)
    if number < 0:
        return "negative " + cardinal(-number)
    if number < 20:
        return ONES[number]
    if number < 100:
        return " ".join([TENS[number // 10], *([ONES[number % 10]] if number % 10 else [])])
    if number < 1000:
        return " ".join([ONES[number // 100], "hundred", *([cardinal(number % 100)] if number % 100 else [])])
    if number >= 10**_LONGEST:
        return digits(str(number))
    words: list[str] = []
    for power in reversed(range(len(SCALES))):
        group = number // 1000**power % 1000
        if group:
            words += [cardinal(group), SCALES[power]]
    return " ".join(words).strip()


def ordinal(number: int) -> str:
    """``21`` -> ``"twenty first"``."""
    *head, last = cardinal(number).split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return " ".join([*head, last])


def plural(words: str) -> str:
    """Plural of the last word of a number: ``"seventies"``, ``"two thirds"``, ``"nineties"``."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def digits(text: str, zero: str = "oh") -> str:
    """Digit by digit: ``"0178"`` -> ``"oh one seven eight"``."""
    return " ".join(zero if c == "0" else ONES[int(c)] for c in text if c.isdigit())


def pairs(text: str) -> str:
    """A label of three or four digits as people say it: ``"1482"`` -> ``"fourteen eighty two"``."""
    if len(text) not in (3, 4) or text[0] == "0":
        return digits(text)
    head, tail = int(text[:-2]), int(text[-2:])
    if tail == 0:
        return cardinal(int(text)) if head % 10 == 0 else cardinal(head) + " hundred"
    return f"{cardinal(head)} {'oh ' if tail < 10 else ''}{cardinal(tail)}"


def year(number: int) -> str:
    """``1906`` -> ``"nineteen oh six"``, ``2003`` -> ``"two thousand three"``, ``2019`` -> ``"twenty nineteen"``."""
    if not 1000 <= number <= 2999 or 2000 <= number <= 2009 or number % 1000 == 0:
        return cardinal(number)
    return pairs(str(number))


def decimal(text: str) -> str:
    """``"3.14"`` -> ``"three point one four"``; commas between thousands are allowed."""
    whole, _, fraction = text.replace(",", "").partition(".")
    head = cardinal(whole) if whole else "zero" if not fraction else ""
    return f"{head} point {digits(fraction, 'zero')}".strip() if fraction else head


def fraction(numerator: int, denominator: int) -> str:
    """``2, 3`` -> ``"two thirds"``; unusual denominators are read with "over"."""
    if denominator == 2:
        unit = "half" if numerator == 1 else "halves"
    elif denominator == 4:
        unit = "quarter" if numerator == 1 else "quarters"
    elif 3 <= denominator <= 20 or denominator in (32, 64, 100):
        unit = ordinal(denominator) if numerator == 1 else plural(ordinal(denominator))
    else:
        return f"{cardinal(numerator)} over {cardinal(denominator)}"
    return f"{cardinal(numerator)} {unit}"


def from_roman(text: str) -> int | None:
    """Value of a well-formed Roman numeral below 4000, else None."""
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    if not text or any(c not in values for c in text):
        return None
    total = sum(
        -values[c] if place + 1 < len(text) and values[text[place + 1]] > values[c] else values[c]
        for place, c in enumerate(text)
    )
    return total if 0 < total < 4000 and _to_roman(total) == text else None


def _to_roman(number: int) -> str:
    steps = [1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1]
    signs = ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"]
    text = ""
    for value, sign in zip(steps, signs, strict=True):
        text += sign * (number // value)
        number %= value
    return text
