"""Readable figures."""

from __future__ import annotations


def byte_count(number: float) -> str:
    """Bytes with a binary unit, three digits: ``"13.5 MiB"``."""
    units = ["GiB", "MiB", "KiB", "B"]
    while abs(number) >= 1000 and len(units) > 1:
        units.pop()
        number /= 1024
    return f"{number:,.0f} {units[-1]}" if abs(number) >= 1000 else f"{number:.3g} {units[-1]}"


def change(value: float, reference: float) -> str:
    """The difference to a reference in percent, empty where there is none or nothing to compare with."""
    if not reference or value == reference:
        return ""
    return f"{100 * (value / reference - 1):+.1f}%"
