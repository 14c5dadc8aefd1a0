"""Damaged files handed to every reader of files from elsewhere: each must be read, or refused in one sentence.

    python benchmarks/readers.py [--files 1000] [--seed 0] [--readers NAME ...] [--out docs/results/readers.json]

The files are those of tests/readers/registry.py, damaged as tests/readers/damage.py does. Each reader has a process of its own,
whose address space may grow by `--gigabytes` beyond what is loaded: a file that makes a reader ask for more is a fault.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import benchmark

from mamtra.runtime.results import footnote, markdown_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def try_one(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The outcome of one reader, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_in_process, (name, args.seed, args.files, args.gigabytes))


def _in_process(name: str, seed: int, files: int, gigabytes: float) -> dict[str, Any]:
    from tests.readers.registry import READERS
    from tests.readers.trials import try_reader

    (reader,) = [reader for reader in READERS if reader.name == name]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders of sound print what they skip
    with tempfile.TemporaryDirectory() as folder:
        (warm := Path(folder) / "warm").mkdir()
        try_reader(reader, warm, seed + 1, 1)
        loaded = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (loaded + int(gigabytes * 1e9),) * 2)
        (work := Path(folder) / "work").mkdir()
        begun = time.perf_counter()
        outcome = try_reader(reader, work, seed, files)
        seconds = time.perf_counter() - begun
    return {
        "reader": name, "kind": reader.kind, "files": files, "read": outcome.read, "refused": outcome.refused,
        "faults": dict(outcome.faults), "example": outcome.example, "seconds": round(seconds, 1),
    }  # fmt: skip


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All readers, one after another."""
    from tests.readers.registry import READERS

    rows: list[dict[str, Any]] = []
    for name in args.readers or [reader.name for reader in READERS]:
        rows.append(try_one(name, args))
        print(rows[-1], file=sys.stderr, flush=True)
        yield {"seed": args.seed, "gigabytes": args.gigabytes, "rows": rows}


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows = result["rows"]
    header = ["file", "damaged", "tried", "read", "refused", "anything else"]
    kinds = {"json": "values and keys", "lines": "values and keys of a line", "bytes": "bytes"}
    cells = [
        [
            row["reader"],
            kinds[row["kind"]],
            *(f"{row[key]:,}" for key in ("files", "read", "refused")),
            sum(row["faults"].values()),
        ]
        for row in rows
    ]
    faults = [f"- {row['reader']}: {row['faults']}; {row['example']}" for row in rows if row["faults"]]
    total = sum(row["files"] for row in rows)
    return "\n".join(
        [
            "# Damaged files",
            "",
            f"{total:,} damaged files (seed {result['seed']}) handed to {len(rows)} readers. A file must be read, where the damage",
            "makes another valid file of it, or be refused in one sentence of at most 700 printable characters. Anything else is a",
            f"fault, also asking for more than {result['gigabytes']:g} GB of memory.",
            "",
            markdown_table(header, cells),
            "",
            *(["## Faults", "", *faults, ""] if faults else []),
            "## How it was measured",
            "",
            footnote(result),
            "",
        ]
    )


def options(parser: argparse.ArgumentParser) -> None:
    """Those of this benchmark."""
    parser.add_argument("--files", type=int, default=1000, help="damaged files a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", help="names; all by default")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="memory that a reader may ask for")
    parser.add_argument("--threads", type=int, default=1)


def main(argv: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    benchmark("readers", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
