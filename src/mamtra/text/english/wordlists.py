"""Word lists that several rules share, written as lines of text."""

from __future__ import annotations

import re


def listed(text: str) -> list[str]:
    """Words of a list written with spaces between them."""
    return text.split()


_STARTERS = "|".join(
    listed(
        "The They He She It We I This That These Those There Then But And In On At You When What Who My His Her Our So"
    )
)
STARTS_SENTENCE = re.compile(rf"\s+[\"'(]*(?:{_STARTERS})\b")
"""Matches where a new sentence begins, after an abbreviation whose full stop may have ended the last one."""
