"""What all measurements share: they are written row by row, and stop when their time is up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from mamtra.runtime.results import circumstances, shown_command, write_result

PACKAGES = ("torch", "triton", "transformers")


def measure(
    out: Path,
    name: str,
    rows: Callable[[torch.device, bool, bool, float], Iterator[dict[str, Any]]],
    render: Callable[[dict[str, Any]], str],
    draw: Callable[[dict[str, Any], Path], None],
    *,
    device: torch.device,
    seconds: float,
    tiny: bool = False,
    peers: bool = True,
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
    known: dict[str, Any] | None = None,
) -> Path:
    """Measure, writing after every row; returns the page.

    Args:
        out: folder of ``NAME.json``, ``NAME.md`` and ``NAME.svg``.
        name: of the measurement.
        rows: measured on a device as they are taken: of small models or not, with peers or not, none begun after a time.
        render: the page from the content of the JSON file.
        draw: the figure from the content of the JSON file.
        device: where to run.
        seconds: no row is begun after so long.
        tiny: a small model, to try the command.
        peers: measure other programs too.
        tell: called with every row as it is measured.
        known: what `rows` keeps itself, in place of a list of all rows.
    """
    result: dict[str, Any] = {
        "benchmark": name, **circumstances(shown_command(["mamtra", *sys.argv[1:]]), packages=PACKAGES), "tiny": tiny,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    }  # fmt: skip
    found: dict[str, Any] = {"rows": []} if known is None else known
    page = out / f"{name}.md"
    for row in rows(device, tiny, peers, time.perf_counter() + seconds):
        if known is None:
            found["rows"].append(row)
        tell(row)
        page = write_result(out / f"{name}.json", result | found, render)
    draw(result | found, out / f"{name}.svg")
    return page
