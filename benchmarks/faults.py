"""Faults that were found, what happens now, and the tests that show it; every test is run.

    python benchmarks/faults.py [--out docs/results/faults.json]

The list is faults.tsv: a kind, the fault, what happens now, and tests as ``file::name``, without the folder and the word test.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from record import benchmark

from mamtra.runtime.results import markdown_table, page

FAULTS = Path(__file__).with_name("faults.tsv")
ROOT = Path(__file__).resolve().parents[1]


def read_faults() -> list[dict[str, Any]]:
    """Rows of the list; tests as file and function."""
    with FAULTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row | {"tests": [_test(name) for name in row["tests"].split()]} for row in rows]


def _test(name: str) -> str:
    file, _, function = name.partition("::")
    return f"tests/{file}::test_{function}"


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the tests of all rows at once."""
    rows = read_faults()
    names = sorted({name for row in rows for name in row["tests"]})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", *names]
        subprocess.run([*command, "-n", str(args.threads)], cwd=ROOT, check=False)
        cases = [*ElementTree.parse(report).iter("testcase")]
    ends: dict[str, dict[str, int]] = {name: {"passed": 0, "skipped": 0, "failed": 0} for name in names}
    for case in cases:
        file, function = case.get("classname", "").replace(".", "/"), re.sub(r"\[.*", "", case.get("name", ""))
        end = "skipped" if case.find("skipped") is not None else "passed" if len(case) == 0 else "failed"
        ends[f"{file}.py::{function}"][end] += 1
    yield {"rows": [row | {"tests": {name: ends[name] for name in row["tests"]}} for row in rows]}


def render(result: dict[str, Any]) -> str:
    """The page."""
    rows, kinds = result["rows"], list(dict.fromkeys(row["kind"] for row in result["rows"]))
    parts = [
        "# Faults and their tests",
        f"{len(rows)} kinds of faults that were found in what people type, hand over and break, what happens now, and the tests "
        "that show it, with the number of their cases that passed.",
    ]
    for kind in kinds:
        cells = [(row["fault"], row["now"], _shown(row["tests"])) for row in rows if row["kind"] == kind]
        parts += [f"## {kind.capitalize()}", markdown_table(("fault", "what happens", "tests"), cells, numbers=False)]
    return page(result, *parts)


def _shown(tests: dict[str, dict[str, int]]) -> str:
    return "<br>".join(
        f"`{name}`: {', '.join(f'{count} {end}' for end, count in ends.items() if count)}"
        for name, ends in tests.items()
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2, help="tests side by side")


def main(argv: list[str] | None = None) -> None:
    """Run the tests that the list names."""
    benchmark("faults", __doc__, measure, render, options, argv)


if __name__ == "__main__":
    main()
