"""Draw docs/strata.svg, the picture of the package's strata, from the import contract and the docstrings of the rooms.

python docs/make_strata.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import sys
from html import escape
from pathlib import Path

import tomllib  # Python 3.11

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "strata.svg"
PACKAGE = ROOT / "src" / "mamtra"
WIDTH, GAP, NAME, LINE = 1000, 6, 90, 15  # px: the picture, between boxes, a room's name, a line of its purpose


def strata() -> list[list[str]]:
    """Rooms by stratum, the highest first, as pyproject.toml has them; rooms that are not built yet are left out."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (c for c in content["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    rows = [[room.strip(" ()") for room in row.split("|")] for row in contract["layers"]]
    return [kept for row in rows if (kept := [room for room in row if _source(room)])]


def purpose(room: str) -> str:
    """First sentence of a room's docstring."""
    source = _source(room)
    assert source is not None
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".").replace("`", "")


def draw() -> str:
    """The picture as SVG."""
    rows, parts, top = strata(), [], GAP
    for depth, row in enumerate(rows):
        width = (WIDTH - GAP * (len(row) + 1)) / len(row)
        texts = [_wrapped(purpose(room), int((width - NAME - 24) / 5.9)) for room in row]
        height = 14 + LINE * max(map(len, texts))
        for i, (room, lines) in enumerate(zip(row, texts, strict=True)):
            left = GAP + i * (width + GAP)
            parts.append(
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="5" '
                f'fill="hsl({200 + 5 * depth},50%,{94 - depth}%)" stroke="#667"/>'
            )
            parts.append(f'<text x="{left + 12:.0f}" y="{top + 20}" font-weight="bold">{escape(room)}</text>')
            parts += [
                f'<text x="{left + 12 + NAME:.0f}" y="{top + 20 + LINE * n}" font-size="12">{escape(line)}</text>'
                for n, line in enumerate(lines)
            ]
        top += height + GAP
    style = 'font-family="Helvetica, Arial, sans-serif" font-size="14" fill="#223"'
    frame = f'<rect width="{WIDTH}" height="{top}" fill="white"/>'
    body = "\n".join([frame, f"<g {style}>", *parts, "</g>"])
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}">\n{body}\n</svg>\n'


def _source(room: str) -> Path | None:
    places = (PACKAGE / room / "__init__.py", PACKAGE / f"{room}.py")
    return next((place for place in places if place.is_file()), None)


def _wrapped(text: str, columns: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > columns:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main() -> int:
    """Write the picture, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the picture is out of date")
    picture = draw()
    if parser.parse_args().check:
        return int(PICTURE.read_text(encoding="utf-8") != picture)
    PICTURE.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
