"""What the benchmarks share: their command line, how results are written, and small measurements."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mamtra.runtime.results import circumstances, shown_command, write_result

TINY_FLOW = {
    "input_size": 32, "encoder_heads": 2, "encoder_ffn": 32, "encoder_blocks": 1, "encoder_up_blocks": 1,
    "estimator_channels": 16, "estimator_heads": 2, "estimator_head_dim": 8, "estimator_n_blocks": 1, "estimator_mid_blocks": 1,
}  # fmt: skip
TINY_VOCODER = {"base_channels": 16, "f0_channels": 8}


def benchmark(
    name: str,
    about: str,
    measure: Callable[[argparse.Namespace], Iterator[dict[str, Any]]],
    render: Callable[[dict[str, Any]], str],
    options: Callable[[argparse.ArgumentParser], None],
    argv: Sequence[str] | None,
    folder: str = "docs/results",
) -> None:
    """Run a benchmark from the command line; NAME.json and NAME.md are written whenever there is something new.

    Args:
        name: of the benchmark.
        about: its docstring.
        measure: yields everything that was measured so far.
        render: from the content of the JSON file to the page.
        options: adds those of this benchmark.
        argv: arguments; those of the process by default.
        folder: of the two files, where `--out` names no other.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--out", type=Path, default=Path(folder) / f"{name}.json")
    parser.add_argument("--render", action="store_true", help="only write the page again from --out")
    args = parser.parse_args(argv)
    if args.render:
        print(write_result(args.out, json.loads(args.out.read_text(encoding="utf-8")), render))
        return
    made_by = made_with(getattr(args, "threads", None))
    page = None
    for found in measure(args):
        page = write_result(args.out, {"benchmark": name, **made_by, **found}, render)
    if page is not None:
        print(page)


def judging_options(parser: argparse.ArgumentParser) -> None:
    """Of the benchmarks that judge voices: run folder, judges and device."""
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--whisper", required=True)
    parser.add_argument("--campplus", type=Path, required=True)
    parser.add_argument("--collect", action="store_true", help="judge nothing: show what the run folder holds")
    parser.add_argument("--device", default="cuda")


def made_with(threads: int | None = None) -> dict[str, Any]:
    """Circumstances of this process; torch's number of threads by default."""
    if threads is None:
        import torch

        threads = torch.get_num_threads()
    return circumstances(shown_command(["python", *sys.argv]), threads)


def device_name(device: Any) -> str:
    """Of a torch device."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}


def show_spread(values: dict[str, Any], digits: int, scale: float = 1.0) -> str:
    """A `spread` in text."""
    middle, low, high = (f"{scale * values[name]:.{digits}f}" for name in ("median", "min", "max"))
    return f"{middle} ({low} to {high})"


def environment(threads: int) -> dict[str, str]:
    """Of a process that computes with so many threads."""
    return dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))


def apart(function: Callable[..., None], *args: Any) -> None:
    """Run in a process of its own: Linux counts what a parent held when it forked as memory of the child."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def say_progress(title: str) -> Any:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(f"{title:24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not sys.stderr.isatty())
