"""What the pages of `serve` and `web` share: style, controls, player and waveform, as files of the folder `page`."""

from __future__ import annotations

import re
from pathlib import Path

SHARED = Path(__file__).with_name("page")


def assemble(page: Path) -> str:
    """A page with each line ``{{ NAME }}`` replaced by that part; modules become plain scripts, without `export`."""

    def part(line: re.Match[str]) -> str:
        text = (SHARED / line[1]).read_text(encoding="utf-8")
        return text.replace("\nexport ", "\n") if line[1].endswith(".js") else text

    return re.sub(r"^\{\{ (\S+) \}\}\n", part, page.read_text(encoding="utf-8"), flags=re.M)
