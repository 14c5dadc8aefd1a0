"""Whether the memory of a server stays flat under listeners: the slope of its resident size, with an interval.

    python benchmarks/soak.py [--minutes 30] [--listeners 2] [--runtime onnx] [--out docs/results/soak.json]

`mamtra serve` runs in a process of its own with the embedded voice, and listeners play what they get and ask again, with texts of
one, two or four sentences. Its resident size is read every second. The first fifth of the time is not counted: caches fill. The
rest is divided into ten parts; a slope is that of a line through their medians or through their smallest values, its interval is
Student's. The median depends on how many texts are spoken at once, so on what else the machine does; the smallest value is what
stays between texts, and shows whether memory is lost.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from record import benchmark, environment

from mamtra.bench.serve import summary
from mamtra.bench.serve_client import Target, listen
from mamtra.bench.serve_load import run_load
from mamtra.runtime.results import markdown_table, page

PARTS = 10
SKIPPED = 0.2
"""Fraction of the time that is not counted."""
START_SECONDS = 120
Samples = list[tuple[float, float]]
"""Seconds and MiB."""


def slope(
    samples: Sequence[tuple[float, float]], of_part: Callable[[np.ndarray], float] = np.median
) -> dict[str, float]:
    """Growth of `of_part` in MiB an hour over the part of the time that counts, with the ends of its 95 % interval."""
    from scipy import stats

    seconds, size = np.array(samples).T
    counted = seconds >= seconds[0] + SKIPPED * (seconds[-1] - seconds[0])
    parts = list(zip(*(np.array_split(values[counted], PARTS) for values in (seconds, size)), strict=True))
    hours, sizes = np.array([(np.median(moments) / 3600, of_part(sizes)) for moments, sizes in parts]).T
    line = stats.linregress(hours, sizes)
    margin = stats.t.ppf(0.975, PARTS - 2) * line.stderr
    return {"slope": line.slope, "low": line.slope - margin, "high": line.slope + margin}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One server under load."""
    port = free_port()
    command = [sys.executable, "-m", "mamtra", "serve", "--port", str(port), "--runtime", args.runtime]
    server = subprocess.Popen(command, env=environment(args.threads), stderr=subprocess.DEVNULL)
    try:
        wait_ready(f"http://127.0.0.1:{port}/health/ready", server)
        samples, stop = Samples(), threading.Event()
        watching = threading.Thread(target=watch, args=(server.pid, samples, stop))
        watching.start()
        ask = partial(listen, Target(f"http://127.0.0.1:{port}/v1", {"voice": "nora", "response_format": "pcm"}))
        heard, wall = run_load(ask, "listeners", args.listeners, 60 * args.minutes, args.seed)
        stop.set()
        watching.join()
    finally:
        server.terminate()
        server.wait(60)
    about = {name: getattr(args, name) for name in ("minutes", "listeners", "runtime", "seed")}
    load = summary(heard, wall)
    yield {**about, **load, "samples": [[round(t, 1), round(m, 1)] for t, m in samples]}


def watch(pid: int, samples: Samples, stop: threading.Event) -> None:
    """Note the resident size of a process every second."""
    began = time.monotonic()
    while not stop.wait(1):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        samples.append((time.monotonic() - began, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))


def free_port() -> int:
    """A TCP port that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_ready(address: str, server: subprocess.Popen, seconds: float = START_SECONDS) -> None:
    """Until the server is warm."""
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not become ready")


def render(result: dict[str, Any]) -> str:
    """The page."""
    samples = result["samples"]
    sizes = [size for _, size in samples]
    counted = sizes[int(SKIPPED * len(sizes)) :]
    rows = [
        [name, f"{of_part(counted[: len(counted) // PARTS]):.0f}", f"{of_part(counted[-len(counted) // PARTS :]):.0f}",
         "{slope:+.1f} ({low:+.1f} to {high:+.1f})".format(**slope(samples, of_part))]
        for name, of_part in (("between texts (smallest)", np.min), ("while it speaks (median)", np.median))
    ]  # fmt: skip
    head = ["MiB", "first tenth", "last tenth", "slope, MiB an hour (95 %)"]
    return page(
        result,
        "# Memory of a server over time",
        f"`mamtra serve --runtime {result['runtime']}` with the embedded voice for {result['minutes']:g} minutes under"
        f" {result['listeners']} listeners who play\n"
        f"what they get and ask again: {result['good']} good answers of {result['requests']}, {result['with_gaps']} with gaps,"
        f" never more than {max(sizes):.0f} MiB. Gaps depend on what else the machine does.\n"
        "The first fifth of the time, in which caches fill, is not counted; a slope is that of a line through ten parts of the\n"
        "rest. The median depends on how many texts are spoken at once; what stays between texts shows whether memory is lost.",
        markdown_table(head, rows),
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--listeners", type=int, default=2)
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)


if __name__ == "__main__":
    benchmark("soak", __doc__, measure, render, options, None)
