"""First audio, real-time factor and gaps of an OpenAI-compatible speech server under load: `mamtra bench serve`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mamtra.bench.serve_client import Heard, Target, listen
from mamtra.bench.serve_load import SETTLE, Mode, run_load
from mamtra.bench.serve_page import render
from mamtra.errors import MamTraError
from mamtra.runtime.results import circumstances, write_result

PERCENTS = (50, 95, 99)
WARM_UP = "The first words are not counted."


def bench_serve(
    out: Path,
    target: Target,
    loads: Sequence[tuple[Mode, float]],
    *,
    seconds: float = 30.0,
    seed: int = 0,
    processes: int = 1,
    name: str = "",
    command: str = "mamtra bench serve",
    tell: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Path:
    """Measure a server under one load after another.

    Args:
        out: folder for serve.json and serve.md; the former is written after every load.
        target: the server.
        loads: kinds and amounts: listeners, clients, or requests a second.
        seconds: of each; what is on its way then is waited for.
        seed: of texts and moments.
        processes: that share a load.
        name: of the server, for the page.
        command: that leads to the result.
        tell: called with every row.

    Returns:
        The page.

    Raises:
        MamTraError: the server does not speak.
    """
    ask = partial(listen, target)
    first = ask(WARM_UP)
    if not first.good:
        raise MamTraError(f"{target.url} does not speak: {first.error or 'no audio'}.")
    about = {
        "benchmark": "serve",
        **circumstances(command),
        "server": name,
        "seconds": seconds,
        "settle": SETTLE,
        "seed": seed,
    }
    rows: list[dict[str, Any]] = []
    page = out
    for mode, amount in loads:
        row = {"mode": mode, "amount": amount, **summary(*run_load(ask, mode, amount, seconds, seed, processes))}
        rows.append(row)
        tell(row)
        page = write_result(out / "serve.json", {**about, "rows": rows}, render)
    return page


def summary(heard: Sequence[Heard], wall: float) -> dict[str, Any]:
    """Figures of a load.

    Args:
        heard: by its requests.
        wall: seconds that it took.
    """
    good = [each for each in heard if each.good]
    found: dict[str, Any] = {
        "requests": len(heard),
        "good": len(good),
        "errors": dict(Counter(f"{each.status or 'connection'}" for each in heard if not each.good)),
        "requests_per_second": len(good) / wall,
        "audio_per_second": sum(each.seconds for each in good) / wall,
        "with_gaps": sum(each.gaps > 0 for each in good),
        "gap_seconds": sum(each.gap_seconds for each in good),
    }
    for key, values in (
        ("first_audio", [each.first_audio for each in good]),
        ("real_time_factor", [each.took / each.seconds for each in good]),
    ):
        found[key] = {f"p{p}": float(np.percentile(values, p)) for p in PERCENTS} if good else None
    return found
