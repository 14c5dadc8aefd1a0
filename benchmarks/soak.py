"""Whether the memory of a server stays flat under listeners: the slope of its resident size at rest, with an interval.

    python benchmarks/soak.py [--minutes 30] [--listeners 2] [--runtime onnx] [--front-processes 0] [--out docs/results/soak.json]

`mamtra serve` runs in processes of its own with the embedded voice, and listeners play what they get and ask again, with texts of
one, two or four sentences. From time to time (`--rests`) nobody asks until all texts have ended; then every process of the server
collects garbage and gives freed memory back (`malloc_trim`), and its resident size is read, without mapped files: what is left is
in use. The first fifth of the time is not counted: caches fill. A slope is that of a line through the rest, its interval is
Student's. Memory that is lost grows by as much in the second half of the time that is counted as in the first, a cache that fills
by less.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from record import benchmark, environment

from mamtra.bench.serve import summary
from mamtra.bench.serve_client import Heard, Target, listen
from mamtra.bench.serve_load import SETTLE, run_load
from mamtra.runtime.results import markdown_table, page

SKIPPED = 0.2
"""Fraction of the time that is not counted."""
START_SECONDS = 120
TRIM_SECONDS = 1.0
"""For a process to give memory back in."""
SAMPLE_SECONDS = 1.0
TRIM = """import ctypes, gc, signal
signal.signal(signal.SIGUSR1, lambda *_: (gc.collect(), ctypes.CDLL(None).malloc_trim(0)))
"""
"""Run by every process of the server as it starts."""


def slope(points: Sequence[Sequence[float]]) -> dict[str, float]:
    """Growth in MiB an hour of a line through points of seconds and MiB, with the ends of its 95 % interval."""
    from scipy import stats

    seconds, size = np.array(points, dtype=float).T
    line = stats.linregress(seconds / 3600, size)
    margin = stats.t.ppf(0.975, len(size) - 2) * line.stderr
    return {"slope": line.slope, "low": line.slope - margin, "high": line.slope + margin}


def counted(points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """Those behind the first fifth of the time."""
    begin = points[0][0] + SKIPPED * (points[-1][0] - points[0][0])
    return [point for point in points if point[0] >= begin]


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One server under load; what is known at each rest."""
    about = {name: getattr(args, name) for name in ("minutes", "listeners", "runtime", "front_processes", "seed")}
    piece = 60 * args.minutes / args.rests
    with serving(args) as (port, pid):
        ask = partial(listen, Target(f"http://127.0.0.1:{port}/v1", {"voice": "nora", "response_format": "pcm"}))
        heard, wall, began = list[Heard](), 0.0, time.monotonic()
        sizes, rests = [0.0], list[tuple[float, float, float]]()
        for number in range(args.rests):
            with watching(pid, sizes):
                left = began + piece * (number + 1) - time.monotonic() - SETTLE - TRIM_SECONDS
                more, seconds = run_load(ask, "listeners", args.listeners, max(1.0, left), args.seed + number)
            heard, wall = heard + more, wall + seconds
            for process in (pid, *children(pid)):
                os.kill(process, signal.SIGUSR1)
            time.sleep(TRIM_SECONDS)
            rests.append((time.monotonic() - began, resident(pid), sum(map(resident, children(pid)))))
            short = [[round(number, 1) for number in point] for point in rests]
            yield {**about, **summary(heard, wall), "most": max(sizes), "rests": short}


@contextmanager
def serving(args: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Port and process of a warm server whose processes give memory back when they are told to."""
    port = free_port()
    options = {"port": port, "runtime": args.runtime, "front-processes": args.front_processes}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(TRIM)
        env = environment(args.threads)
        env["PYTHONPATH"] = os.pathsep.join([folder, env.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "mamtra", "serve", *words]
        server = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            wait_ready(f"http://127.0.0.1:{port}/health/ready", server)
            yield port, server.pid
        finally:
            server.terminate()
            server.wait(60)


@contextmanager
def watching(pid: int, sizes: list[float]) -> Iterator[None]:
    """Note the resident size of a server, in MiB, every second meanwhile."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            sizes.append(sum(map(resident, (pid, *children(pid)))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def resident(pid: int) -> float:
    """MiB of a process, without files that it maps, which the system takes away and reads again; 0 where it has ended."""
    try:
        _, all_pages, of_files, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except OSError:
        return 0.0
    return (all_pages - of_files) * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid: int) -> list[int]:
    """Processes that one has started and that run now, by their parents in /proc: not every kernel lists children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


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
    rests = result["rests"]
    sizes = {"at rest": [point[:2] for point in rests]}
    if result["front_processes"]:
        sizes = {"the process with the model, at rest": sizes["at rest"]}
        sizes["front processes, at rest"] = [(second, size) for second, _, size in rests]
    return page(
        result,
        "# Memory of a server over time",
        f"`mamtra serve --runtime {result['runtime']}`{_fronts(result['front_processes'])} with the embedded voice for "
        f"{result['minutes']:g} minutes under {result['listeners']} listeners who play\n"
        f"what they get and ask again: {result['good']} good answers of {result['requests']}, {result['with_gaps']} with gaps,"
        f" never more than {result['most']:.0f} MiB. Gaps depend on what else the machine does.\n"
        f"{len(rests)} times nobody asked until all texts had ended; garbage was then collected, freed memory given back, and the\n"
        "resident size read, without mapped files. The first fifth of the time, in which caches fill, is not counted. Memory that\n"
        "is lost grows by as much in the second half of the rest as in the first, a cache that fills by less.",
        markdown_table(
            ["MiB", "first", "last", "slope, MiB an hour (95 %)", "in the first half", "in the second half"],
            [_row(name, counted(points)) for name, points in sizes.items()],
        ),
    )


def _fronts(count: int) -> str:
    return f" with {count} front processes" if count else ""


def _row(name: str, points: Sequence[Sequence[float]]) -> list[str]:
    """A row of the page; too few points have no slope."""
    middle = len(points) // 2
    parts = [points, points[: middle + 1], points[middle:]]
    slopes = [
        "{slope:+.1f} ({low:+.1f} to {high:+.1f})".format(**slope(part)) if len(part) > 2 else "-" for part in parts
    ]
    return [name, f"{points[0][1]:.0f}", f"{points[-1][1]:.0f}", *slopes]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rests", type=int, default=20, help="times that nobody speaks")
    parser.add_argument("--listeners", type=int, default=2)
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--front-processes", type=int, default=0, help="for --runtime torch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)


if __name__ == "__main__":
    benchmark("soak", __doc__, measure, render, options, None)
