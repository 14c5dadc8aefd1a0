"""Chapters and verses of the Bible, which look like ratios and times of day: "Matthew 5:3-12", "1 Cor. 13:4"."""

from __future__ import annotations

import re

from mamtra.text.english.numbers import cardinal
from mamtra.text.english.patterns import FigurePattern
from mamtra.text.english.wordlists import listed

_BOOKS = {
    "Gen": "Genesis", "Ex": "Exodus", "Exod": "Exodus", "Lev": "Leviticus", "Num": "Numbers", "Deut": "Deuteronomy",
    "Josh": "Joshua", "Judg": "Judges", "Sam": "Samuel", "Kgs": "Kings", "Chron": "Chronicles", "Neh": "Nehemiah",
    "Ps": "Psalm", "Prov": "Proverbs", "Eccl": "Ecclesiastes", "Isa": "Isaiah", "Jer": "Jeremiah", "Lam": "Lamentations",
    "Ezek": "Ezekiel", "Dan": "Daniel", "Hos": "Hosea", "Obad": "Obadiah", "Mic": "Micah", "Nah": "Nahum",
    "Hab": "Habakkuk", "Zeph": "Zephaniah", "Hag": "Haggai", "Zech": "Zechariah", "Mal": "Malachi", "Matt": "Matthew",
    "Mk": "Mark", "Lk": "Luke", "Jn": "John", "Rom": "Romans", "Cor": "Corinthians", "Gal": "Galatians",
    "Eph": "Ephesians", "Phil": "Philippians", "Col": "Colossians", "Thess": "Thessalonians", "Tim": "Timothy",
    "Philem": "Philemon", "Heb": "Hebrews", "Jas": "James", "Pet": "Peter", "Rev": "Revelation",
}  # fmt: skip
_ALSO_PEOPLE = frozenset(listed("Dan Phil Sam Tim"))
"""Short names too, which stand before a time: "Sam 10:15"."""
_WHOLE = [*_BOOKS.values(), *listed("Ruth Ezra Esther Job Psalms Joel Amos Jonah Acts Titus Jude Sirach Tobit Wisdom")]
_NAMES = "|".join(sorted({*_BOOKS, *_WHOLE}, key=len, reverse=True))
_PARTS = {"1": "First ", "2": "Second ", "3": "Third ", "I": "First ", "II": "Second ", "III": "Third "}
_VERSE = FigurePattern(
    rf"(?<![\w.,:])(?:([123]|I{{1,3}})\s)?\b({_NAMES})(\.?)\s(\d{{1,3}}):([1-9]\d{{0,2}})"
    r"(?:[-–](\d{1,3})(?::([1-9]\d{0,2}))?)?(?![\w:]|[.,]\d|\s?[ap]\.?m\b)"
)


def _verse(match: re.Match[str]) -> str:
    part, book, point, *numbers = match.groups()
    if book in _ALSO_PEOPLE and not part and not point:
        return match[0]
    chapter, verse, last, last_verse = (number and cardinal(number) for number in numbers)
    said = f"{_PARTS[part] if part else ''}{_BOOKS.get(book, book)} {chapter} {verse}"
    return said + (f" to {last}" if last else "") + (f" {last_verse}" if last_verse else "")


def expand_verses(text: str) -> str:
    """``"1 Cor. 13:4-7"`` -> ``"First Corinthians thirteen four to seven"``."""
    return _VERSE.sub(_verse, text) if ":" in text else text
