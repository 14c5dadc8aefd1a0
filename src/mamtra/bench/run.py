"""What all measurements share: they are written row by row, and stop when their time is up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from mamtra.runtime.results import circumstances, shown_command, write_result

PACKAGES = ("torch", "triton", "transformers")


def write_rows(
    out: Path,
    name: str,
    rows: Iterator[dict[str, Any]],
    render: Callable[[dict[str, Any]], str],
    *,
    device: torch.device,
    tiny: bool,
    tell: Callable[[dict[str, Any]], None],
    draw: Callable[[dict[str, Any], Path], None] | None = None,
) -> Path:
    """Measure, writing after every row; returns the page.

    Args:
        out: folder of ``NAME.json``, ``NAME.md`` and, with `draw`, ``NAME.svg``.
        name: of the measurement.
        rows: measured as they are taken.
        render: the page from the content of the JSON file.
        device: whose name is noted.
        tiny: noted.
        tell: called with every row as it is measured.
        draw: the figure from the content of the JSON file.
    """
    result: dict[str, Any] = {
        "benchmark": name, **circumstances(shown_command(["mamtra", *sys.argv[1:]]), packages=PACKAGES), "tiny": tiny,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU", "rows": [],
    }  # fmt: skip
    page = out / f"{name}.md"
    for row in rows:
        result["rows"].append(row)
        tell(row)
        page = write_result(out / f"{name}.json", result, render)
    if draw is not None:
        draw(result, out / f"{name}.svg")
    return page
